// SPDX-License-Identifier: Apache-2.0

public import KinesisVideo
public import Logging
public import NIOCore
import NIOPosix
public import SansIO
import Synchronization

#if canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// The local stand-in of Amazon Kinesis Video signaling: control plane, signaling and viewer page on one port, and
/// relays on their own.
///
/// All of its HTTP connections live on one event loop of the group, where ``LocalService`` decides; this type opens
/// and closes the ports. ``TURNServer`` does so for the relays.
public final class LocalKinesisVideoServer: Sendable {
  /// Where the stand-in listens and whom it knows.
  public struct Configuration: Sendable {
    /// The address to listen on; loopback by default, so that nobody else reaches it.
    public var host = "127.0.0.1"
    /// The port to listen on; 0 picks a free one.
    public var port = 8080
    /// The region that signatures must name.
    public var region = "us-west-2"
    /// The access key that may call.
    public var accessKey = "local"
    /// Its secret.
    public var secretKey = Secret("local-secret")
    /// Its session token, if callers have to send one.
    public var sessionToken: Secret<String>?
    /// The folder that channels are stored in; `nil` forgets them with the process.
    public var dataDirectory: String?
    /// The STUN and TURN server; `nil` for none. Its host is the one above, its TLS the stand-in's own.
    public var relay: TURNServer.Configuration?
    /// Other STUN and TURN servers that GetIceServerConfig names behind that one, as they are.
    public var otherICEServers: [ICEServer] = []
    /// The signaling quotas.
    public var signaling = SignalingHub.Configuration()
    /// The account's ARNs and bounds; the region is the one above.
    public var registry = ChannelRegistry.Configuration()
    /// Names besides addresses and local names under which the viewer page may be opened.
    public var pageHostNames: Set<String> = []
    /// Connections at a time, HTTP and WebSocket together.
    public var connectionsMax = 1024
    /// How long a connection may take to send a whole request.
    public var requestTimeout = TimeDelta.seconds(60)

    /// The defaults.
    public init() {}
  }

  /// Where the stand-in listens.
  public struct Address: Hashable, Sendable {
    /// The address, without brackets.
    public let host: String
    /// The port, never 0.
    public let port: Int
    /// The ports of the TURN server, if there is one.
    public let relay: TURNServer.Address?
    /// The file of the certificate to trust for TLS, where something uses it.
    public let caCertificatePath: String?

    /// The address as a URL's origin; of an address that means all interfaces, loopback's.
    public var httpURL: String {
      let reachable = host == "0.0.0.0" ? "127.0.0.1" : host == "::" ? "::1" : host
      return "http://" + (reachable.contains(":") ? "[\(reachable)]" : reachable) + ":\(port)"
    }
  }

  private struct Running: Sendable {
    let listener: any Channel
    let state: NIOLoopBound<ServerState>
    let address: Address
    let relay: Relay?
  }

  /// A TURN server and where the certificate to trust for it lies.
  private struct Relay: Sendable {
    let server: TURNServer
    let certificate: CertificateFile

    func shutdown() async {
      await server.shutdown()
      certificate.remove()
    }
  }

  /// Closes a connection that was accepted beyond the limit.
  private struct TooManyConnections: Error {}

  private enum Phase: Sendable {
    case idle
    case starting
    case running(Running)
    case stopped
  }

  private let configuration: Configuration
  private let loop: any EventLoop
  private let relayLoop: any EventLoop
  private let logger: Logger
  private let phase = Mutex(Phase.idle)

  /// Prepares a server; nothing is opened before ``start()``.
  public init(configuration: Configuration, eventLoopGroup: any EventLoopGroup, logger: Logger) {
    self.configuration = configuration
    loop = eventLoopGroup.next()
    relayLoop = eventLoopGroup.next()
    self.logger = logger
  }

  // MARK: life

  /// Reads the stored channels, opens the port and returns where it is.
  ///
  /// - Throws: A sentence that names the setting to change.
  public func start() async throws(LocalServerError) -> Address {
    let isFirst = phase.withLock { phase in
      guard case .idle = phase else { return false }
      phase = .starting
      return true
    }
    guard isFirst else { throw .alreadyStarted }
    do throws(LocalServerError) {
      let running = try await open()
      phase.withLock { $0 = .running(running) }
      logger.info("local Kinesis Video service listens", metadata: ["address": "\(running.address.httpURL)"])
      if let relay = running.address.relay {
        logger.info(
          "STUN and TURN server listens",
          metadata: [
            "host": "\(relay.hosts.isEmpty ? "all" : relay.hosts.joined(separator: ", "))",
            "port": "\(relay.port)",
            "TLS port": "\(relay.tlsPort.map { "\($0)" } ?? "none")",
          ])
      }
      return running.address
    } catch {
      phase.withLock { $0 = .idle }
      throw error
    }
  }

  /// Starts the server unless it is running, and serves until ``shutdown()`` or the task's cancellation.
  public func run() async throws {
    if current == nil { _ = try await start() }
    guard let running = current else { return }
    try await withTaskCancellationHandler {
      try await running.listener.closeFuture.get()
    } onCancel: {
      running.listener.close(promise: nil)
    }
    await shutdown()
  }

  /// Closes the port and every connection, WebSockets with 1001, and waits for their end.
  public func shutdown() async {
    let running: Running? = phase.withLock { phase in
      guard case .running(let running) = phase else { return nil }
      phase = .stopped
      return running
    }
    guard let running else { return }
    running.listener.close(promise: nil)
    try? await running.listener.closeFuture.get()
    let closing = try? await loop.submit { running.state.value.stop() }.get()
    for future in closing ?? [] { try? await future.get() }
    await running.relay?.shutdown()
    logger.info("local Kinesis Video service stopped")
  }

  // MARK: use in the same process

  /// Lets the caller look at or change the service between two requests; what follows from a change is done.
  ///
  /// - Throws: What `body` throws, or a channel error when the server does not run.
  public func withService<Result: Sendable>(
    _ body: @escaping @Sendable (inout LocalService, ServiceTime) throws -> Result
  ) async throws -> Result {
    guard let running = current else { throw ChannelError.inappropriateOperationForState }
    return try await loop.submit { try running.state.value.withService(body) }.get()
  }

  /// The ARN of the channel with this name, which is made if it does not exist.
  public func createChannelIfMissing(named name: String) async throws -> String {
    try await withService { service, now in try service.createChannelIfMissing(named: name, at: now) }
  }

  /// The TURN server, while it runs.
  public var turnServer: TURNServer? { current?.relay?.server }

  private var current: Running? {
    phase.withLock { phase in if case .running(let running) = phase { running } else { nil } }
  }

  // MARK: opening

  private func open() async throws(LocalServerError) -> Running {
    guard (0...65_535).contains(configuration.port) else { throw .invalidPort(configuration.port) }
    let store = configuration.dataDirectory.map(ChannelStore.init(directory:))
    let channels = try store?.load() ?? []
    let relay = try await openRelay()
    do {
      let state = try await makeState(store: store, channels: channels, offer: relay?.server.offer)
      let listener = try await listen(state)
      let address = Address(
        host: listener.localAddress?.ipAddress ?? configuration.host,
        port: listener.localAddress?.port ?? configuration.port, relay: relay?.server.address,
        caCertificatePath: relay?.certificate.path)
      return Running(listener: listener, state: state, address: address, relay: relay)
    } catch {
      await relay?.shutdown()
      throw failure(error)
    }
  }

  private func listen(_ state: NIOLoopBound<ServerState>) async throws -> any Channel {
    let high = ServerState.Limits.unsentBytesMax
    return try await ServerBootstrap(group: loop)
      .serverChannelOption(.backlog, value: 256)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(.writeBufferWaterMark, value: .init(low: high / 2, high: high))
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          guard state.value.open(channel) else { throw TooManyConnections() }
          try HTTPConnection(state: state.value).configure(channel)
        }
      }
      .bind(host: configuration.host, port: configuration.port).get()
  }

  private func openRelay() async throws(LocalServerError) -> Relay? {
    guard var relay = configuration.relay else { return nil }
    relay.host = configuration.host
    let authority =
      if let directory = configuration.dataDirectory {
        try LocalCertificateAuthority(directory: directory)
      } else {
        try LocalCertificateAuthority()
      }
    let identity = try authority.makeServerIdentity(
      names: Array(configuration.pageHostNames),
      addresses: HostAddresses.current() + relay.relayAddresses + relay.advertisedAddresses)
    relay.tlsContext = try identity.makeContext()
    let certificate = try CertificateFile(of: authority, directory: configuration.dataDirectory)
    do throws(LocalServerError) {
      let server = try await TURNServer.open(relay, on: relayLoop, logger: logger)
      return Relay(server: server, certificate: certificate)
    } catch {
      certificate.remove()
      throw error
    }
  }

  private func makeState(
    store: ChannelStore?, channels: [SignalingChannel], offer: RelayOffer?
  ) async throws -> NIOLoopBound<ServerState> {
    var service = LocalService.Configuration(
      credentials: AWSCredentials(
        accessKeyID: configuration.accessKey, secretAccessKey: configuration.secretKey,
        sessionToken: configuration.sessionToken))
    service.region = configuration.region
    service.registry = configuration.registry
    service.signaling = configuration.signaling
    service.pageHostNames = configuration.pageHostNames
    service.relay = offer
    service.otherICEServers = configuration.otherICEServers
    var limits = ServerState.Limits()
    limits.connectionsMax = configuration.connectionsMax
    limits.requestTimeout = configuration.requestTimeout
    return try await loop.submit { [loop, logger, service, limits] in
      NIOLoopBound(
        ServerState(
          service: LocalService(configuration: service, random: .system, restoring: channels), store: store,
          limits: limits, loop: loop, logger: logger, clock: { .systemNow }), eventLoop: loop)
    }.get()
  }

  private func failure(_ error: any Error) -> LocalServerError {
    let (host, port) = (configuration.host, configuration.port)
    if error is SocketAddressError { return .hostNotAvailable(host: host) }
    switch (error as? IOError)?.errnoCode {
    case EADDRINUSE: return .portInUse(host: host, port: port)
    case EACCES: return .portNotPermitted(port: port)
    case EADDRNOTAVAIL: return .hostNotAvailable(host: host)
    default: return .cannotListen(host: host, port: port, reason: "\(error)")
    }
  }
}
