// SPDX-License-Identifier: Apache-2.0

public import AsyncHTTPClient
import FoundationEssentials
import NIOCore
import NIOFoundationEssentialsCompat
import NIOHTTP1
import NIOSSL
public import SansIO
import Synchronization

/// Whose place in a channel.
public enum SignalingRole: Hashable, Sendable {
  /// The one who serves all viewers.
  case master
  /// One who talks to the master, by an identifier of 1 to 256 characters `A-Z a-z 0-9 _ . -`.
  case viewer(clientID: String)

  var wireName: String { self == .master ? "MASTER" : "VIEWER" }
  var clientID: String? {
    if case .viewer(let clientID) = self { clientID } else { nil }
  }
}

/// The two addresses that belong to one channel and role.
public struct ChannelEndpoints: Hashable, Sendable {
  /// Where the WebSocket is opened.
  public var webSocket: ServiceURL
  /// Where the list of relays comes from.
  public var https: ServiceURL

  /// Joins the two.
  public init(webSocket: ServiceURL, https: ServiceURL) {
    self.webSocket = webSocket
    self.https = https
  }
}

/// The difference of the service's clock to ours, learnt from a refusal and shared by all that sign.
public final class ClockOffset: Sendable {
  private let seconds = Mutex<Int64>(0)

  /// Starts with no difference.
  public init() {}

  /// The service's time as far as it is known.
  public var now: UnixTime { UnixTime.now.advanced(bySeconds: seconds.withLock { $0 }) }

  /// Takes the service's clock from an error that says ours is wrong by more than its 5 minutes.
  ///
  /// - Returns: Whether signing again makes sense.
  public func learn(from error: KinesisVideoError) -> Bool {
    guard error.kind == .clockSkew, let serverTime = error.serverTime else { return false }
    let difference = serverTime.seconds - UnixTime.now.seconds
    return seconds.withLock { current in
      guard abs(difference - current) > 60 else { return false }
      current = difference
      return true
    }
  }
}

/// The REST calls of the service that a signaling session needs, over HTTP/1.1.
///
/// Every call has a time-out and a bound on the answer; throttling, the service's problems and a failing network are
/// tried again with back-off, refusals never, except once after a clock that was wrong.
public struct KinesisVideoClient: Sendable {
  /// How calls are made.
  public struct Configuration: Sendable {
    /// The region of the signatures and, without an endpoint, of the host name.
    public var region: ServiceRegion
    /// Where channels are described and created.
    public var controlEndpoint: ServiceURL
    /// Whose calls they are.
    public var credentials: AWSCredentials
    /// What we call ourselves.
    public var userAgent: String
    /// How often a call is made at most; 1 means never again.
    public var attemptsMax = 4
    /// Longest time of one attempt.
    public var timeout: Duration = .seconds(10)

    /// Joins the parts; without an endpoint the region's own is used.
    public init(
      region: ServiceRegion, controlEndpoint: ServiceURL? = nil, credentials: AWSCredentials,
      userAgent: String = "swift-kvs-webrtc"
    ) {
      self.region = region
      self.controlEndpoint = controlEndpoint ?? region.controlEndpoint
      self.credentials = credentials
      self.userAgent = userAgent
    }
  }

  /// Largest answer that is read: real ones stay below 10 KB.
  public static let responseBytesMax = 65_536
  /// Longest wait for a channel to become active after its creation; the service needs a second or two.
  static let activationPatience: Duration = .seconds(30)
  private static let activationPollInterval: Duration = .milliseconds(500)
  /// Between two attempts of one call: the service takes three a second of most.
  static let attemptInterval: TimeDelta = .milliseconds(334)

  let configuration: Configuration
  let clock: ClockOffset
  private let httpClient: HTTPClient
  private let secrets: KnownSecrets

  /// Makes a client over an HTTP client that its owner shuts down; see ``httpConfiguration(certificateAuthorityFile:)``.
  public init(configuration: Configuration, httpClient: HTTPClient, clock: ClockOffset = ClockOffset()) {
    self.configuration = configuration
    self.httpClient = httpClient
    self.clock = clock
    secrets = KnownSecrets(configuration.credentials)
  }

  /// Settings for the HTTP client: HTTP/1.1 alone, no redirects, 10 seconds, TLS 1.2 and host names verified.
  ///
  /// - Parameters:
  ///   - certificateAuthorityFile: A PEM file to trust instead of the system's certificates.
  ///   - proxy: The HTTP proxy that all calls go through, if any.
  public static func httpConfiguration(
    certificateAuthorityFile: String? = nil, proxy: ProxyServer? = nil
  ) -> HTTPClient.Configuration {
    var configuration = HTTPClient.Configuration(
      tlsConfiguration: tlsConfiguration(certificateAuthorityFile: certificateAuthorityFile),
      redirectConfiguration: .disallow,
      timeout: .init(connect: .seconds(10), read: .seconds(10), write: .seconds(10)))
    configuration.httpVersion = .http1Only
    configuration.proxy = proxy.map(Self.proxy)
    // A refused connection is told at once: when to try again is decided here.
    configuration.connectionPool.retryConnectionEstablishment = false
    return configuration
  }

  private static func proxy(_ server: ProxyServer) -> HTTPClient.Configuration.Proxy {
    // "Basic " and what HTTPClient calls credentials: user and password in base64.
    let credentials = server.authorization?.unredacted.split(separator: " ").last.map { String($0) }
    return .server(
      host: server.host, port: Int(server.port), authorization: credentials.map { .basic(credentials: $0) })
  }

  static func tlsConfiguration(certificateAuthorityFile: String?) -> TLSConfiguration {
    var tls = TLSConfiguration.makeClientConfiguration()
    tls.minimumTLSVersion = .tlsv12
    if let certificateAuthorityFile { tls.trustRoots = .file(certificateAuthorityFile) }
    return tls
  }

  // MARK: Calls

  /// Describes a channel by its name.
  ///
  /// - Throws: ``KinesisVideoError``, of kind `unknownChannel` when there is none; `CancellationError`.
  public func describeSignalingChannel(name: String) async throws -> KinesisVideoShapes.ChannelInfo {
    let request = KinesisVideoShapes.DescribeSignalingChannelRequest(channelName: name)
    let response: KinesisVideoShapes.DescribeSignalingChannelResponse = try await call(
      configuration.controlEndpoint.appending(path: "/describeSignalingChannel"), request)
    return response.channelInfo
  }

  /// Creates a channel and waits until it is active; one that somebody else has just created counts as well.
  ///
  /// - Throws: ``KinesisVideoError``, of kind `service` when the channel stays inactive; `CancellationError`.
  public func createSignalingChannel(
    name: String, messageTtlSeconds: Int? = nil
  ) async throws -> KinesisVideoShapes.ChannelInfo {
    let request = KinesisVideoShapes.CreateSignalingChannelRequest(
      channelName: name,
      singleMasterConfiguration: messageTtlSeconds.map { .init(messageTtlSeconds: $0) })
    do {
      let _: KinesisVideoShapes.CreateSignalingChannelResponse = try await call(
        configuration.controlEndpoint.appending(path: "/createSignalingChannel"), request)
    } catch let error as KinesisVideoError where error.errorType == "ResourceInUseException" {}
    return try await waitUntilActive(name: name)
  }

  private func waitUntilActive(name: String) async throws -> KinesisVideoShapes.ChannelInfo {
    let end = ContinuousClock.now + Self.activationPatience
    while ContinuousClock.now < end {
      do {
        let channel = try await describeSignalingChannel(name: name)
        if channel.channelStatus == "ACTIVE" || channel.channelStatus == nil { return channel }
      } catch let error as KinesisVideoError where error.kind == .unknownChannel {}
      try await Task.sleep(for: Self.activationPollInterval)
    }
    throw KinesisVideoError(
      errorType: KinesisVideoError.unexpectedResponse,
      message: "The channel \(name) did not become active within \(Self.activationPatience).", statusCode: 0)
  }

  /// Deletes a channel; one that is gone already counts as deleted.
  public func deleteSignalingChannel(arn: String) async throws {
    let request = KinesisVideoShapes.DeleteSignalingChannelRequest(channelARN: arn)
    do {
      let _: Empty = try await call(
        configuration.controlEndpoint.appending(path: "/deleteSignalingChannel"), request)
    } catch let error as KinesisVideoError where error.kind == .unknownChannel {}
  }

  /// The addresses of a channel for a role.
  ///
  /// - Throws: ``KinesisVideoError``, also for an answer that lacks one, or that leads from TLS to plain text.
  public func getSignalingChannelEndpoint(
    channelARN: String, role: SignalingRole
  ) async throws -> ChannelEndpoints {
    let request = KinesisVideoShapes.GetSignalingChannelEndpointRequest(
      channelARN: channelARN, configuration: .init(protocols: ["WSS", "HTTPS"], role: role.wireName))
    let response: KinesisVideoShapes.GetSignalingChannelEndpointResponse = try await call(
      configuration.controlEndpoint.appending(path: "/getSignalingChannelEndpoint"), request)
    return ChannelEndpoints(
      webSocket: try endpoint("WSS", schemes: ["wss", "ws"], of: response),
      https: try endpoint("HTTPS", schemes: ["https", "http"], of: response))
  }

  private func endpoint(
    _ protocolName: String, schemes: Set<String>,
    of response: KinesisVideoShapes.GetSignalingChannelEndpointResponse
  ) throws(KinesisVideoError) -> ServiceURL {
    let entry = response.resourceEndpointList.prefix(8).first { $0.protocolName == protocolName }
    guard let url = entry.flatMap({ ServiceURL($0.resourceEndpoint) }), schemes.contains(url.scheme),
      url.query == nil
    else { throw Self.unexpected("The service named no usable \(protocolName) endpoint.") }
    guard url.isSecure || !configuration.controlEndpoint.isSecure else {
      throw Self.unexpected("The service named a \(protocolName) endpoint without TLS.")
    }
    return url
  }

  /// The relays of a channel, usually two, each good for five minutes.
  public func getIceServerConfig(
    channelARN: String, endpoint: ServiceURL, clientID: String? = nil
  ) async throws -> [ICEServer] {
    let request = KinesisVideoShapes.GetIceServerConfigRequest(channelARN: channelARN, clientID: clientID)
    let response: KinesisVideoShapes.GetIceServerConfigResponse = try await call(
      endpoint.appending(path: "/v1/get-ice-server-config"), request)
    return response.iceServerList.prefix(ICEServer.countMax).map { ICEServer(entry: $0) }
  }

  // MARK: HTTP

  private struct Empty: Decodable {}

  private func call<Response: Decodable>(_ url: ServiceURL, _ request: some Encodable) async throws
    -> Response
  {
    let body = try Array(JSONEncoder().encode(request))
    var backoff = Backoff()
    var random = RandomSource.system
    while true {
      do {
        let answer = try await attempt(url, body: body)
        guard let response = try? JSONDecoder().decode(Response.self, from: Data(answer)) else {
          throw Self.unexpected("The answer to \(url.path) is not of the expected form.")
        }
        return response
      } catch let error as KinesisVideoError {
        let learnt = clock.learn(from: error) && backoff.attempts == 0
        guard learnt || error.isRetriable, backoff.attempts + 1 < configuration.attemptsMax else {
          throw error
        }
        try await Task.sleep(for: Duration(max(backoff.next(using: &random), Self.attemptInterval)))
      }
    }
  }

  /// One attempt: signed now, because a signature has a time.
  private func attempt(_ url: ServiceURL, body: [UInt8]) async throws -> [UInt8] {
    var request = HTTPClientRequest(url: url.text)
    request.method = .POST
    let headers = SignatureV4.signedHeaders(
      method: "POST", url: url,
      headers: [("content-type", "application/json"), ("user-agent", configuration.userAgent)], body: body,
      credentials: configuration.credentials, region: configuration.region.name, at: clock.now)
    for header in headers { request.headers.add(name: header.name, value: header.value) }
    request.body = .bytes(body)
    do {
      let response = try await httpClient.execute(request, timeout: TimeAmount(configuration.timeout))
      guard (200..<300).contains(response.status.code) else {
        let signature = headers.first { $0.name.lowercased() == "authorization" }?.value ?? ""
        throw KinesisVideoError(
          statusCode: Int(response.status.code), header: { response.headers.first(name: $0) },
          body: await Self.refusalBody(response), secrets: secrets.adding(signatureIn: signature))
      }
      return Array(try await response.body.collect(upTo: Self.responseBytesMax).readableBytesView)
    } catch {
      try Task.checkCancellation()
      throw KinesisVideoError(connecting: url, failure: error)
    }
  }

  /// The body of a refusal; what is too large or breaks off counts as empty, for the status says enough.
  private static func refusalBody(_ response: HTTPClientResponse) async -> [UInt8] {
    (try? await response.body.collect(upTo: responseBytesMax)).map { Array($0.readableBytesView) } ?? []
  }

  static func unexpected(_ message: String) -> KinesisVideoError {
    KinesisVideoError(errorType: KinesisVideoError.unexpectedResponse, message: message, statusCode: 0)
  }
}
