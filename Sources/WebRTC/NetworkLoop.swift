// SPDX-License-Identifier: Apache-2.0

import DTLS
public import ICE
public import Logging
public import NIOCore
import NIOPosix
public import SansIO
import Synchronization

/// Sockets and time for many peer connections: one event loop, one UDP socket for each address of the host,
/// shared by all its connections.
///
/// One loop serves some hundreds of connections; open a second one for more, each with ports of its own. Open
/// it before the first offer, so that sockets are bound and certificates made when a viewer arrives.
///
/// ```swift
/// let loop = try await NetworkLoop()
/// let connection = try PeerConnection(on: loop)
/// …
/// await loop.shutdown()
/// ```
public final class NetworkLoop: Sendable {
  /// What a loop can be told.
  public struct Configuration: Sendable {
    /// The addresses to bind, `nil` for those of the host's interfaces.
    public var addresses: [IPAddress]?
    /// Whether loopback addresses are used although there are others: for peers on the same host.
    public var includesLoopback: Bool
    /// The UDP ports that sockets may have, for firewalls and containers; `nil` lets the kernel choose.
    ///
    /// A loop needs a port of them on each address, and one more on each for every connection that shares no
    /// sockets.
    public var ports: ClosedRange<UInt16>?
    /// Addresses at which a translator in front of this host makes it reachable, with the same ports: the
    /// public address of a machine in a cloud (1:1 NAT). They are announced beside the host's own.
    public var advertisedAddresses: [IPAddress]
    /// STUN and TURN servers; ``NetworkLoop/update(iceServers:)`` replaces them.
    public var iceServers: [ICEServer] = []
    /// Whether all candidates are used, or relays alone: then no peer learns an address of this host, and neither
    /// does a STUN server. ``PeerConnectionConfiguration/ice`` can restrict a single connection likewise.
    public var iceTransportPolicy = ICETransportPolicy.all
    /// Relays that are kept ready, so that a connection to come does not wait for one: 0 to 4. Each is an
    /// allocation at a TURN server.
    public var relaySpareCount = 1
    /// The address families of relays; each connection gets a relay of each.
    public var relayFamilies: [IPAddress.Family] = [.ipv4]
    /// Who may vouch for TURN servers over TLS and DTLS.
    public var trustRoots = TrustRoots.system
    /// The HTTP proxy that TURN over TCP and TLS goes through.
    public var proxy = ProxyConfiguration.none
    /// Connections that the loop takes at most.
    public var connectionsMax: Int
    /// Bytes that the kernel is asked to buffer for each socket and direction.
    public var kernelBufferByteCount: Int
    /// Whether bursts are handed to the kernel whole (UDP_SEGMENT), where it can take them.
    public var usesSegmentationOffload: Bool
    /// The event loop to run on; `nil` takes one of SwiftNIO's shared ones. It must outlive the connections.
    public var eventLoop: (any EventLoop)?

    /// The defaults: all interfaces but loopback, ports chosen by the kernel, 1,024 connections.
    public init(
      addresses: [IPAddress]? = nil, includesLoopback: Bool = false, ports: ClosedRange<UInt16>? = nil,
      advertisedAddresses: [IPAddress] = [], connectionsMax: Int = 1024, kernelBufferByteCount: Int = 4 << 20,
      usesSegmentationOffload: Bool = true, eventLoop: (any EventLoop)? = nil
    ) {
      self.addresses = addresses
      self.includesLoopback = includesLoopback
      self.ports = ports
      self.advertisedAddresses = advertisedAddresses
      self.connectionsMax = connectionsMax
      self.kernelBufferByteCount = kernelBufferByteCount
      self.usesSegmentationOffload = usesSegmentationOffload
      self.eventLoop = eventLoop
    }
  }

  /// What has passed through a loop's sockets.
  public struct Statistics: Sendable {
    /// Datagrams received, also those dropped.
    public var datagramsReceived: UInt64
    /// Bursts sent: one or more datagrams in one call each.
    public var burstsSent: UInt64
    /// Datagrams dropped, by cause.
    public var drops: DropCounters<NetworkDropCause>
    /// How often a socket's channel was made again after an error.
    public var channelRebuilds: Int
    /// Connections at present.
    public var connectionCount: Int
    /// Relays that connections have.
    public var relayCount: Int
    /// Relays that wait for a connection.
    public var spareRelayCount: Int
    /// Relays that were lost while a connection had them.
    public var relaysLost: Int
  }

  private struct Reservations {
    var connectionCount = 0
    var nextPrefix = UInt32.random(in: .min ... .max)
    var isShutDown = false
    var localAddresses: [TransportAddress] = []
  }

  /// The addresses and ports that the loop's shared sockets are bound to; they change with the host's
  /// interfaces.
  public var localAddresses: [TransportAddress] { reservations.state.withLock { $0.localAddresses } }
  let eventLoop: any EventLoop
  let dtls: DTLSContext
  private let state: LoopConfined<LoopState>
  private let certificates: CertificatePool
  private let configuration: Configuration
  private let reservations: ReservationBox

  /// Reservations are made by any thread and given back by the event loop.
  private final class ReservationBox: Sendable {
    let state = Mutex(Reservations())
  }

  /// Opens the sockets.
  ///
  /// An address that cannot be bound is left out (an interface may be about to go); when none is left the
  /// first error is thrown.
  ///
  /// - Throws: ``NetworkError/noUsableAddress``, ``NetworkError/socket(operation:address:code:)``,
  ///   ``NetworkError/noFreePort(address:ports:)``, ``NetworkError/certificate(_:)``.
  public init(
    configuration: Configuration = Configuration(), logger: Logger = Logger(label: "webrtc.network")
  ) async throws(NetworkError) {
    let options = HostSockets.Options(
      addresses: configuration.addresses, includesLoopback: configuration.includesLoopback,
      ports: configuration.ports, sendsOffloaded: configuration.usesSegmentationOffload,
      kernelBufferByteCount: configuration.kernelBufferByteCount)
    let interfaces = NetworkInterfaces.current()
    let opening = KernelSockets(sockets: try HostSockets.bind(options, interfaces: interfaces))
    do throws(DTLSError) { dtls = try DTLSContext() } catch { throw .certificate("\(error)") }
    let eventLoop = configuration.eventLoop ?? MultiThreadedEventLoopGroup.singleton.any()
    let reservations = ReservationBox()
    let advertised = AdvertisedAddresses(configuration.advertisedAddresses)
    let state = LoopState(
      eventLoop: eventLoop, advertised: advertised, iceTransportPolicy: configuration.iceTransportPolicy,
      servers: configuration.servers, logger: logger,
      peerLeft: { reservations.state.withLock { $0.connectionCount -= 1 } },
      addressesChanged: { addresses in reservations.state.withLock { $0.localAddresses = addresses } })
    let confined = LoopConfined(state, to: eventLoop)
    self.configuration = configuration
    self.eventLoop = eventLoop
    self.reservations = reservations
    self.state = confined
    certificates = CertificatePool(context: dtls)
    await withCheckedContinuation { continuation in
      eventLoop.execute {
        confined.value.open(opening.sockets, options: options, interfaces: interfaces)
        confined.value.update(servers: configuration.iceServers, at: NetworkClock.now)
        confined.value.scheduleTurn()
        continuation.resume()
      }
    }
  }

  deinit {
    let state = state
    eventLoop.execute { state.value.shutdown() }
  }

  /// Ends all connections with a goodbye to their peers, gives relays back and closes the sockets. Calling it
  /// again does nothing.
  ///
  /// It waits for the TURN servers' confirmation, two seconds at most.
  public func shutdown() async {
    reservations.state.withLock { $0.isShutDown = true }
    await withCheckedContinuation { continuation in
      post { state, _ in
        state.shutdown()
        state.servers.whenEnded { continuation.resume() }
      }
    }
  }

  /// Replaces the STUN and TURN servers: renewed credentials, or other servers.
  ///
  /// Relays that are in use live on under the credentials that made them. Connections that had no server to ask
  /// get relays now.
  public func update(iceServers: [ICEServer]) async {
    await run { state, now in state.update(servers: iceServers, at: now) }
  }

  /// What has passed through the sockets so far.
  public func statistics() async -> Statistics {
    let connectionCount = reservations.state.withLock { $0.connectionCount }
    return await run { state, _ in
      Statistics(
        datagramsReceived: state.datagramsReceived, burstsSent: state.burstsSent, drops: state.drops,
        channelRebuilds: state.hostSockets.rebuildCount, connectionCount: connectionCount,
        relayCount: state.servers.relayCount, spareRelayCount: state.servers.spareRelayCount,
        relaysLost: state.servers.relaysLost)
    }
  }

  // MARK: For connections

  /// Whether all candidates are used or relays alone.
  var iceTransportPolicy: ICETransportPolicy { configuration.iceTransportPolicy }

  /// Runs `body` as one turn of the loop and returns what it returns.
  func run<Result: Sendable>(_ body: @escaping @Sendable (LoopState, Instant) -> Result) async -> Result {
    await withCheckedContinuation { continuation in
      post { state, now in continuation.resume(returning: body(state, now)) }
    }
  }

  /// Runs `body` as one turn of the loop, some time soon.
  func post(_ body: @escaping @Sendable (LoopState, Instant) -> Void) {
    let state = state
    eventLoop.execute {
      let now = NetworkClock.now
      body(state.value, now)
      state.value.endTurn(at: now)
    }
  }

  /// Reserves a place for a connection: a certificate and a transaction prefix of its own.
  func reserveConnection() throws(NetworkError) -> (certificate: DTLSCertificate, transactionPrefix: UInt32) {
    let limit = configuration.connectionsMax
    let reserved: Swift.Result<UInt32, NetworkError> = reservations.state.withLock { state in
      guard !state.isShutDown else { return .failure(.shutDown) }
      guard state.connectionCount < limit else { return .failure(.tooManyConnections(limit: limit)) }
      state.connectionCount += 1
      // A large odd step: no prefix repeats before all were used, and neighbours are far apart.
      state.nextPrefix &+= 0x9e37_79b1
      return .success(state.nextPrefix)
    }
    let prefix = try reserved.get()
    do throws(NetworkError) { return (try certificates.take(), prefix) } catch {
      reservations.state.withLock { $0.connectionCount -= 1 }
      throw error
    }
  }

  // MARK: Opening

  /// Kernel sockets on their way to the event loop, given up by the sender.
  private struct KernelSockets: @unchecked Sendable {
    let sockets: [KernelSocket]
  }
}

extension NetworkLoop.Configuration {
  fileprivate var servers: GathererDriver.Configuration {
    GathererDriver.Configuration(
      relaySpareCount: relaySpareCount, relayFamilies: relayFamilies, trustRoots: trustRoots, proxy: proxy,
      sendsOffloaded: usesSegmentationOffload, kernelBufferByteCount: kernelBufferByteCount)
  }
}
