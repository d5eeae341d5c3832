// SPDX-License-Identifier: Apache-2.0

public import AsyncHTTPClient
public import Logging
public import NIOCore
import NIOPosix
public import SansIO

/// A session with the service's signaling channel: finds or creates the channel, keeps a WebSocket open, sends and
/// receives session descriptions and candidates.
///
/// ```swift
/// let client = SignalingClient(configuration: configuration, eventLoopGroup: group, httpClient: nil, logger: logger)
/// async let session: Void = client.run()
/// for await event in client.events { ... }
/// ```
public final class SignalingClient: Sendable {
  /// What happens on a session.
  public typealias Event = SignalingEvent

  /// How a session is made.
  public struct Configuration: Sendable {
    /// The channel's name.
    public var channelName: String
    /// Whose place in the channel.
    public var role: SignalingRole
    /// The region, such as `eu-west-1`.
    public var region: String
    /// The control endpoint if it is not the region's own, such as `http://127.0.0.1:8080`.
    public var endpointURL: String?
    /// Whose calls they are.
    public var credentials: AWSCredentials
    /// Whether a channel that does not exist is created; for masters.
    public var createChannelIfMissing: Bool
    /// What we call ourselves.
    public var userAgent = "swift-kvs-webrtc"
    /// A PEM file to trust instead of the system's certificates.
    public var certificateAuthorityFile: String?
    /// The HTTP proxy that connections over TLS go through, and for which hosts they do not.
    public var proxy = ProxyConfiguration.none

    /// Joins the parts.
    public init(
      channelName: String, role: SignalingRole, region: String, endpointURL: String? = nil,
      credentials: AWSCredentials, createChannelIfMissing: Bool = false
    ) {
      self.channelName = channelName
      self.role = role
      self.region = region
      self.endpointURL = endpointURL
      self.credentials = credentials
      self.createChannelIfMissing = createChannelIfMissing
    }
  }

  /// Events that wait for a slow reader; later ones are lost and logged. Far above what the service lets pass.
  public static let eventsMax = 1024

  /// What happens, for one reader; ends with the session.
  public let events: AsyncStream<Event>

  private let configuration: Configuration
  private let loop: any EventLoop
  private let httpClient: HTTPClient?
  private let logger: Logger
  private let driver: SignalingDriver

  /// Makes a session that does nothing until ``run()``.
  ///
  /// - Parameters:
  ///   - configuration: How the session is made; checked by ``run()``.
  ///   - eventLoopGroup: Where the WebSocket lives, on one of its loops.
  ///   - httpClient: For the REST calls; `nil` makes one that ends with ``run()``.
  ///   - logger: Gets no secrets and no presigned addresses.
  public init(
    configuration: Configuration, eventLoopGroup: any EventLoopGroup, httpClient: HTTPClient?, logger: Logger
  ) {
    self.configuration = configuration
    self.httpClient = httpClient
    loop = eventLoopGroup.next()
    var logger = logger
    logger[metadataKey: "channel"] = "\(LogText.escaped(configuration.channelName))"
    self.logger = logger
    let (events, continuation) = AsyncStream.makeStream(
      of: Event.self, bufferingPolicy: .bufferingOldest(Self.eventsMax))
    self.events = events
    var core = SignalingSessionCore.Configuration()
    core.createsChannel = configuration.createChannelIfMissing
    driver = SignalingDriver(
      loop: loop, core: SignalingSessionCore(configuration: core, random: .system), events: continuation,
      logger: logger)
  }

  /// Queues a message. Messages leave in order, as fast as the service takes them, and survive a reconnection; one that
  /// waits for a minute is dropped.
  public func send(_ message: OutgoingSignal) {
    loop.execute { [driver] in driver.send(message) }
  }

  /// Runs the session until its task is cancelled; once only.
  ///
  /// - Throws: ``KinesisVideoError`` when the first attempt is refused for good (unknown channel, wrong credentials, settings
  ///   that cannot work). Later refusals are events, and the session tries again.
  public func run() async throws {
    defer { loop.execute { [driver] in driver.stop() } }
    let operations = try makeOperations()
    do {
      try await withTaskCancellationHandler {
        try await loop.flatSubmit { [driver] in driver.start(operations) }.get()
      } onCancel: {
        loop.execute { [driver] in driver.stop() }
      }
    } catch {
      try await operations.shutdown()
      throw error
    }
    try await operations.shutdown()
  }

  private func makeOperations() throws(KinesisVideoError) -> SignalingOperations {
    guard SignalingMessage.isIdentifier(configuration.channelName) else {
      throw Self.invalid("A channel's name has 1 to 256 characters of A-Z, a-z, 0-9, '_', '.' and '-'.")
    }
    guard configuration.role.clientID.map(SignalingMessage.isViewerIdentifier) ?? true else {
      throw Self.invalid(
        "A viewer's identifier has 1 to 256 characters of A-Z, a-z, 0-9, '_', '.' and '-', and does not begin with AWS_."
      )
    }
    guard let region = ServiceRegion(configuration.region) else {
      throw Self.invalid("'\(configuration.region)' is no region.")
    }
    var endpoint: ServiceURL?
    if let text = configuration.endpointURL {
      guard let url = ServiceURL(text), ["https", "http"].contains(url.scheme), url.query == nil else {
        throw Self.invalid("'\(text)' is no endpoint; one looks like https://host:port.")
      }
      endpoint = url
    }
    return try SignalingOperations(
      configuration: configuration, region: region, endpoint: endpoint, httpClient: httpClient, loop: loop)
  }

  private static func invalid(_ message: String) -> KinesisVideoError {
    KinesisVideoError(errorType: KinesisVideoError.invalidConfiguration, message: message, statusCode: 0)
  }
}
