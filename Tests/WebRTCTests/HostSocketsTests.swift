// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import SansIO
import Testing

@testable import WebRTC

/// The loop's sockets over the kernel's own, on loopback addresses: any of 127/8 can be bound on Linux.
@Suite("The sockets of a loop follow the host's addresses, and stay in their ports", .timeLimit(.minutes(1)))
struct HostSocketsTests {
  /// A port range in which nothing else listens, found by asking the kernel for a port.
  private func freePorts(_ count: UInt16, on ip: IPAddress) throws -> ClosedRange<UInt16> {
    while true {
      let port = try KernelSocket(binding: ip, port: 0, bufferByteCount: 0).address.port
      guard port < UInt16.max - count else { continue }
      let range = port...(port + count - 1)
      let sockets = range.compactMap { try? KernelSocket(binding: ip, port: $0, bufferByteCount: 0) }
      if sockets.count == Int(count) { return range }
    }
  }

  private let loopback = IPAddress(ipv4: 0x7f00_0001)

  @Test("a socket takes the first free port of its range, looks on from where it is told, and around")
  func portRange() throws {
    let ports = try freePorts(3, on: loopback)
    func bind(from first: UInt16 = 0) throws -> KernelSocket {
      try KernelSocket(binding: loopback, ports: ports, from: first, bufferByteCount: 0)
    }
    let sockets = [try bind(), try bind(from: ports.upperBound), try bind(from: ports.upperBound)]
    #expect(
      sockets.map(\.address.port) == [ports.lowerBound, ports.upperBound, ports.lowerBound + 1])
    let error = #expect(throws: NetworkError.noFreePort(address: "127.0.0.1", ports: ports)) {
      try bind()
    }
    #expect(error?.description.contains("\(ports.lowerBound) to \(ports.upperBound)") == true)
    #expect(throws: NetworkError.noFreePort(address: "127.0.0.1", ports: ports.lowerBound...ports.lowerBound))
    {
      try KernelSocket(binding: loopback, ports: ports.lowerBound...ports.lowerBound, bufferByteCount: 0)
    }
  }

  @Test("an address that the host does not have is that error, not one about ports")
  func foreignAddress() throws {
    let ports = try freePorts(2, on: loopback)
    #expect(throws: NetworkError.self) {
      do throws(NetworkError) {
        _ = try KernelSocket(binding: IPAddress(ipv4: 0xc000_02fe), ports: ports, bufferByteCount: 0)
      } catch {
        guard case .socket(operation: "bind", _, _) = error else { return }
        throw error
      }
    }
  }

  @Test("connections with sockets of their own stay in the range, and hear when it is full")
  func ownSockets() async throws {
    let ports = try freePorts(3, on: loopback)
    let stage = try await SocketStage(addresses: ["127.0.0.1"], ports: ports)
    let outcome = await stage.run { sockets, _ in
      let own = (0..<3).map { _ in
        Result { () throws(NetworkError) in
          try sockets.openOwn(on: sockets.shared.map(\.local.address.ip)).map(\.local.address.port)
        }
      }
      sockets.close(sockets.shared)
      return (own, sockets.shared.map(\.local.address.port))
    }
    #expect(outcome.1 == [ports.lowerBound])
    let opened = outcome.0.compactMap { try? $0.get() }
    #expect(opened == [[ports.lowerBound + 1], [ports.lowerBound + 2]])
    #expect(throws: NetworkError.noFreePort(address: "127.0.0.1", ports: ports)) { try outcome.0[2].get() }
    await stage.shutdown()
  }

  @Test("a new address gets a socket; a lost one loses it after a second, and its number is used again")
  func refresh() async throws {
    let stage = try await SocketStage(addresses: ["127.0.0.1"])
    let outcome = await stage.run { sockets, now in
      let first = sockets.refresh(interfaces: SocketStage.interfaces("127.0.0.1", "127.0.0.2"), at: now)
      let opened = first.opened.map(\.local)
      let isShared = sockets.shared.map(\.local.address.ip.description)
      let second = sockets.refresh(interfaces: SocketStage.interfaces("127.0.0.2"), at: now)
      let third = sockets.refresh(interfaces: SocketStage.interfaces("127.0.0.2"), at: now + .seconds(1))
      let gone = third.gone.map(\.local)
      sockets.close(third.gone)
      let fourth = sockets.refresh(
        interfaces: SocketStage.interfaces("127.0.0.2", "127.0.0.3"), at: now + .seconds(2))
      return (
        opened, isShared, second.gone.count, second.nextLook == now + .seconds(1), gone,
        fourth.opened.map(\.local), sockets.shared.map(\.local.address.ip.description)
      )
    }
    #expect(outcome.0.map(\.address.ip.description) == ["127.0.0.2"])
    #expect(outcome.1 == ["127.0.0.1", "127.0.0.2"])
    #expect(outcome.2 == 0)
    #expect(outcome.3)
    #expect(outcome.4.map(\.id) == [0])
    #expect(outcome.5.map(\.id) == [0])
    #expect(outcome.6 == ["127.0.0.2", "127.0.0.3"])
    await stage.shutdown()
  }

  @Test("addresses that were named are judged by whether they can be bound, listed or not")
  func namedAddresses() async throws {
    let stage = try await SocketStage(addresses: ["127.0.0.5", "192.0.2.254"], areNamed: true)
    let outcome = await stage.run { sockets, now in
      let before = sockets.shared.map(\.local.address.ip.description)
      let changes = sockets.refresh(interfaces: [], at: now)
      return (before, changes.opened.count, changes.gone.count, changes.nextLook)
    }
    #expect(outcome.0 == ["127.0.0.5"])
    #expect(outcome.1 == 0)
    #expect(outcome.2 == 0)
    #expect(outcome.3 == nil)
    await stage.shutdown()
  }

  @Test("a loop says at which ports it can be reached, and refuses to open where none is free")
  func loopPorts() async throws {
    let ports = try freePorts(1, on: loopback)
    let loop = try await NetworkLoop(configuration: .init(addresses: [loopback], ports: ports))
    #expect(loop.localAddresses == [TransportAddress(ip: loopback, port: ports.lowerBound)])
    await #expect(throws: NetworkError.noFreePort(address: "127.0.0.1", ports: ports)) {
      _ = try await NetworkLoop(configuration: .init(addresses: [loopback], ports: ports))
    }
    await loop.shutdown()
  }

  @Test("an advertised address is signaled beside the host's own, with the same port")
  func advertised() async throws {
    let loop = try await NetworkLoop(
      configuration: .init(addresses: [loopback], advertisedAddresses: [IPAddress(ipv4: 0x7f00_0009)]))
    let connection = try PeerConnection(on: loop)
    try await connection.addTransceiver(.audio, .init(direction: .sendonly, codecs: [.opus]))
    let offer = try await connection.setLocalDescription()
    let port = loop.localAddresses[0].port
    let lines = offer.sdp.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("a=candidate:") }
    #expect(lines.contains { $0.contains(" 127.0.0.1 \(port) typ host") })
    #expect(lines.contains { $0.contains(" 127.0.0.9 \(port) typ srflx") }, "\(lines)")
    await connection.close()
    await loop.shutdown()
  }
}

/// ``HostSockets`` on an event loop, over a list of interfaces that a test makes up.
private final class SocketStage: Sendable {
  private final class Owner: UDPSocketDelegate {
    private(set) lazy var sockets = HostSockets(eventLoop: eventLoop, delegate: self)
    private let eventLoop: any EventLoop

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    func socket(
      _ socket: UDPSocket, received datagrams: RawSpan, segmentByteCount: Int, from remote: TransportAddress
    ) {}
    func socketReceivedAll(_ socket: UDPSocket) {}
    func socket(_ socket: UDPSocket, dropped cause: NetworkDropCause) {}
    func socket(_ socket: UDPSocket, lostChannel reason: String) {}
  }

  private let owner: LoopConfined<Owner>

  init(addresses: [String], areNamed: Bool = false, ports: ClosedRange<UInt16>? = nil) async throws {
    let eventLoop = MultiThreadedEventLoopGroup.singleton.any()
    let owner = LoopConfined(Owner(eventLoop: eventLoop), to: eventLoop)
    self.owner = owner
    let options = HostSockets.Options(
      addresses: areNamed ? addresses.compactMap { IPAddress($0) } : nil, includesLoopback: true,
      ports: ports)
    let interfaces = addresses.compactMap { IPAddress($0) }.map { NetworkInterface(name: "lo", address: $0) }
    try await eventLoop.submit {
      owner.value.sockets.openShared(
        try HostSockets.bind(options, interfaces: interfaces), options: options, interfaces: interfaces)
    }.get()
  }

  static func interfaces(_ addresses: String...) -> [NetworkInterface] {
    addresses.compactMap { IPAddress($0) }.map { NetworkInterface(name: "lo", address: $0) }
  }

  func run<Result: Sendable>(_ body: @escaping @Sendable (HostSockets, Instant) -> Result) async -> Result {
    let owner = owner
    return await withCheckedContinuation { continuation in
      owner.eventLoop.execute {
        continuation.resume(returning: body(owner.value.sockets, NetworkClock.now))
      }
    }
  }

  func shutdown() async { await run { sockets, _ in sockets.closeAll() } }
}
