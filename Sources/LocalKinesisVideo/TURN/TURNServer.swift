// SPDX-License-Identifier: Apache-2.0

public import ICE
public import Logging
public import NIOCore
import NIOPosix
public import NIOSSL
public import SansIO

/// The stand-in's STUN and TURN server over UDP, TCP and TLS (RFC 8656).
///
/// ``TURNServerCore`` decides; this type opens and closes the ports. UDP and TCP have the same number. Relays are
/// UDP sockets. All of it lives on one event loop.
public final class TURNServer: Sendable {
  /// Where the server listens, and whom it relays to.
  public struct Configuration: Sendable {
    /// The address to listen on; one that means all interfaces gets a UDP socket for each of them.
    public var host = "127.0.0.1"
    /// The port for UDP and TCP; 0 picks a free one.
    public var port = 3478
    /// The port for TLS; 0 picks a free one.
    public var tlsPort = 5349
    /// Whether another port is taken when one is in use: another TURN server may have the well-known ones.
    public var mayUseOtherPorts = false
    /// Certificate and key for TLS; without them there is no port for it.
    public var tlsContext: NIOSSLContext?
    /// The addresses that relay sockets are bound to, at most one of a family; by default the one listened on, or
    /// the first one that other hosts can reach.
    public var relayAddresses: [IPAddress] = []
    /// What clients are told instead of the host's own addresses, at most one of a family: behind a cloud's NAT the
    /// public ones.
    public var advertisedAddresses: [IPAddress] = []
    /// Networks that are relayed to although policy would refuse them.
    public var allowedPrefixes: [IPPrefix] = []
    /// Allocations at a time, each two descriptors of the 1,024 that a process has at first.
    public var allocationsMax = 200
    /// Allocations of one channel at a time: what the service is said to have.
    public var allocationsPerChannelMax = 50
    /// What credentials are made with.
    public var secret: Secret<[UInt8]>

    /// The defaults, with a secret of this run.
    public init() {
      var random = RandomSource.system
      secret = Secret(random.bytes(32))
    }
  }

  /// The ports that are open.
  public struct Address: Hashable, Sendable {
    /// The hosts for URIs, at most one of a family; none where every address of this host will do.
    public let hosts: [String]
    /// The port for UDP and TCP.
    public let port: Int
    /// The port for TLS.
    public let tlsPort: Int?
  }

  /// Where the server listens.
  public let address: Address
  private let secret: Secret<[UInt8]>
  private let listeners: [any Channel]
  private let loop: any EventLoop
  private let state: NIOLoopBound<TURNServerState>

  private init(
    address: Address, secret: Secret<[UInt8]>, listeners: [any Channel], state: NIOLoopBound<TURNServerState>,
    loop: any EventLoop
  ) {
    self.address = address
    self.secret = secret
    self.listeners = listeners
    self.state = state
    self.loop = loop
  }

  /// What GetIceServerConfig hands out.
  public var offer: RelayOffer {
    RelayOffer(hosts: address.hosts, port: address.port, tlsPort: address.tlsPort, secret: secret)
  }

  /// Lets these sockets be relayed to although policy would refuse them, and no longer those of the last call.
  public func allow(_ peers: Set<TransportAddress>) async {
    try? await loop.submit { [state] in state.value.allow(peers) }.get()
  }

  /// How many allocations there are.
  public func allocationCount() async throws -> Int {
    try await loop.submit { [state] in state.value.allocationCount }.get()
  }

  /// Closes idle connections now; for tests.
  func sweep() async throws { try await loop.submit { [state] in state.value.sweep() }.get() }

  /// What was not acted upon, by cause.
  public func drops() async throws -> DropCounters<TURNServerDropCause> {
    try await loop.submit { [state] in state.value.drops }.get()
  }

  /// Closes the ports, the connections and the relays, and waits for their end.
  public func shutdown() async {
    for listener in listeners {
      listener.close(promise: nil)
      try? await listener.closeFuture.get()
    }
    let closing = try? await loop.submit { [state] in state.value.stop() }.get()
    for future in closing ?? [] { try? await future.get() }
  }

  // MARK: opening

  /// Opens the ports and serves until ``shutdown()``.
  ///
  /// - Throws: A sentence that names the setting to change.
  public static func open(
    _ configuration: Configuration, on loop: any EventLoop, logger: Logger
  ) async throws(LocalServerError) -> TURNServer {
    try await open(configuration, limits: TURNServerState.Limits(), on: loop, logger: logger)
  }

  static func open(
    _ configuration: Configuration, limits: TURNServerState.Limits, on loop: any EventLoop, logger: Logger
  ) async throws(LocalServerError) -> TURNServer {
    let network = try TURNNetwork(configuration)
    do {
      let state = try await loop.submit {
        NIOLoopBound(
          TURNServerState(
            core: TURNServerCore(
              configuration: network.coreConfiguration(configuration, at: .systemNow), random: .system),
            peerPolicy: network.peerPolicy(configuration), relayAddresses: network.relayAddresses,
            limits: limits, loop: loop, logger: logger), eventLoop: loop)
      }.get()
      let opener = TURNPortOpener(
        loop: loop, state: state, host: network.listening, mayUseOtherPorts: configuration.mayUseOtherPorts)
      let plain = try await opener.openSharedPort(
        configuration.port, datagramAddresses: network.datagramAddresses)
      var listeners = [plain]
      if let context = configuration.tlsContext {
        do {
          listeners.append(try await opener.openTLSPort(configuration.tlsPort, context))
        } catch {
          plain.close(promise: nil)
          try? await loop.submit { state.value.closePorts() }.get()
          throw error
        }
      }
      try await loop.submit { state.value.start() }.get()
      return TURNServer(
        address: Address(
          hosts: network.advertisedHosts, port: plain.localAddress?.port ?? configuration.port,
          tlsPort: listeners.count > 1 ? listeners[1].localAddress?.port : nil),
        secret: configuration.secret, listeners: listeners, state: state, loop: loop)
    } catch let error as LocalServerError {
      throw error
    } catch {
      throw .cannotRelay(reason: "\(error)")
    }
  }
}
