// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import NIOCore
import NIOSSL
import SansIO
import Synchronization

/// The calls of one session, and what they have learnt of the channel.
final class SignalingOperations: Sendable {
  private struct Channel {
    var arn: String?
    var endpoints: ChannelEndpoints?
  }

  private let configuration: SignalingClient.Configuration
  private let region: ServiceRegion
  private let client: KinesisVideoClient
  private let httpClient: HTTPClient
  private let ownsHTTPClient: Bool
  private let tls: NIOSSLContext?
  private let clock = ClockOffset()
  private let secrets: KnownSecrets
  private let channel = Mutex(Channel())

  init(
    configuration: SignalingClient.Configuration, region: ServiceRegion, endpoint: ServiceURL?,
    httpClient: HTTPClient?, loop: any EventLoop
  ) throws(KinesisVideoError) {
    self.configuration = configuration
    self.region = region
    secrets = KnownSecrets(configuration.credentials)
    // Plain endpoints are for tests and the local service: no certificates are read for those.
    tls = endpoint?.isSecure ?? true ? try Self.makeTLS(configuration) : nil
    ownsHTTPClient = httpClient == nil
    self.httpClient =
      httpClient
      ?? HTTPClient(
        eventLoopGroup: loop,
        configuration: KinesisVideoClient.httpConfiguration(
          certificateAuthorityFile: configuration.certificateAuthorityFile,
          proxy: Self.proxy(of: configuration, for: endpoint ?? region.controlEndpoint)))
    var clientConfiguration = KinesisVideoClient.Configuration(
      region: region, controlEndpoint: endpoint, credentials: configuration.credentials,
      userAgent: configuration.userAgent)
    // The session's core decides when to try again, and tells the application.
    clientConfiguration.attemptsMax = 1
    client = KinesisVideoClient(configuration: clientConfiguration, httpClient: self.httpClient, clock: clock)
  }

  /// The proxy for an address. Plain addresses are for tests and the local service, which no proxy stands before.
  private static func proxy(
    of configuration: SignalingClient.Configuration, for url: ServiceURL
  ) -> ProxyServer? {
    guard url.isSecure, let port = UInt16(exactly: url.effectivePort) else { return nil }
    return configuration.proxy.server(forHost: url.host, port: port)
  }

  private static func makeTLS(
    _ configuration: SignalingClient.Configuration
  ) throws(KinesisVideoError) -> NIOSSLContext {
    do {
      return try NIOSSLContext(
        configuration: KinesisVideoClient.tlsConfiguration(
          certificateAuthorityFile: configuration.certificateAuthorityFile))
    } catch {
      throw KinesisVideoError(
        errorType: KinesisVideoError.invalidConfiguration, message: "TLS cannot be set up: \(error).",
        statusCode: 0)
    }
  }

  func shutdown() async throws {
    if ownsHTTPClient { try await httpClient.shutdown() }
  }

  /// A server's text as it may be logged.
  func withoutSecrets(_ text: String) -> String { secrets.removed(from: text) }

  func describeChannel() async throws {
    let info = try await client.describeSignalingChannel(name: configuration.channelName)
    guard info.channelStatus != "DELETING" else {
      throw KinesisVideoError(
        errorType: "ResourceNotFoundException", message: "The channel is being deleted.", statusCode: 404)
    }
    channel.withLock { $0.arn = info.channelARN }
  }

  func createChannel() async throws {
    let info = try await client.createSignalingChannel(name: configuration.channelName)
    channel.withLock { $0.arn = info.channelARN }
  }

  func getEndpoints() async throws {
    let endpoints = try await client.getSignalingChannelEndpoint(channelARN: arn(), role: configuration.role)
    channel.withLock { $0.endpoints = endpoints }
  }

  /// The relays; with the service's own endpoint its STUN server comes first, for the list leaves it out.
  func getICEServers() async throws -> [ICEServer] {
    let relays = try await client.getIceServerConfig(
      channelARN: arn(), endpoint: endpoints().https, clientID: configuration.role.clientID)
    return configuration.endpointURL == nil ? [region.stunServer] + relays : relays
  }

  func openWebSocket(
    on loop: any EventLoop, receive: @escaping @Sendable (WebSocketInput) -> Void
  ) async throws -> WebSocketConnection {
    let now = clock.now
    var parameters = [("X-Amz-ChannelARN", try arn())]
    if let clientID = configuration.role.clientID { parameters.append(("X-Amz-ClientId", clientID)) }
    let endpoint = try endpoints().webSocket
    let signed = SignatureV4.presignedURL(
      endpoint, parameters: parameters.map { (name: $0.0, value: $0.1) },
      credentials: configuration.credentials, region: region.name, at: now)
    guard let url = ServiceURL(signed.unredacted) else {
      throw KinesisVideoClient.unexpected("The address of \(endpoint.origin) became too long.")
    }
    let context = url.isSecure ? try tls ?? Self.makeTLS(configuration) : nil
    do {
      return try await WebSocketConnection.open(
        url, userAgent: configuration.userAgent, tls: context, proxy: Self.proxy(of: configuration, for: url),
        secrets: secrets.adding(signatureIn: signed.unredacted), on: loop, receive: receive)
    } catch let error as KinesisVideoError {
      _ = clock.learn(from: error)
      throw error
    }
  }

  private func arn() throws(KinesisVideoError) -> String {
    guard let arn = channel.withLock({ $0.arn }) else {
      throw KinesisVideoClient.unexpected("The channel is not known yet.")
    }
    return arn
  }

  private func endpoints() throws(KinesisVideoError) -> ChannelEndpoints {
    guard let endpoints = channel.withLock({ $0.endpoints }) else {
      throw KinesisVideoClient.unexpected("The channel's endpoints are not known yet.")
    }
    return endpoints
  }
}
