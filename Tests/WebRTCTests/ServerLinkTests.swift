// SPDX-License-Identifier: Apache-2.0

import ICE
import NIOCore
import NIOPosix
import SansIO
import Synchronization
import Testing

@testable import WebRTC

/// One link to a TURN server on loopback. What the link reports comes out as a stream; a Binding request and its
/// answer show that bytes pass.
@Suite("ServerLink: connections to TURN servers, RFC 8656 §2.1", .timeLimit(.minutes(1)))
struct ServerLinkTests {
  @Test("frames pass both ways over every transport", arguments: TURNTransport.allCases)
  func exchange(transport: TURNTransport) async throws {
    let server = try await TestTURNServer()
    let probe = try await LinkProbe(to: server, over: transport)
    let address = try await probe.opened()
    #expect(address.ip == IPAddress(ipv4: 0x7f00_0001) && address.port != 0)
    await probe.send((0..<40).map { LinkProbe.binding(number: $0) })
    var numbers: [UInt8] = []
    for _ in 0..<40 {
      let frame = try await probe.received()
      #expect(frame[0] == 1 && frame[1] == 1)
      numbers.append(frame[19])
    }
    #expect(numbers == (0..<40).map { UInt8($0) })
    await probe.close()
    await server.kill()
  }

  @Test(
    "T38 a server that is not who it should be is refused with a reason, and gets nothing",
    arguments: [
      ("wrong-host", "localhost"), ("wrong-host", nil), ("good", "elsewhere.test"), ("expired", "localhost"),
      ("future", "localhost"), ("self-signed", "localhost"), ("unknown-authority", "localhost"),
    ] as [(String, String?)], [TURNTransport.tls, .dtls])
  func refused(certificate: (String, String?), transport: TURNTransport) async throws {
    let server = try await TestTURNServer(certificate: certificate.0)
    let probe = try await LinkProbe(to: server, over: transport, hostName: certificate.1)
    let reason = try await probe.failed()
    #expect(reason.contains("certificate"))
    #expect(await server.framesReceived(transport) == 0)
    await server.kill()
  }

  @Test("T38 a private authority is trusted only where it was named", arguments: [TURNTransport.tls, .dtls])
  func trust(transport: TURNTransport) async throws {
    let server = try await TestTURNServer()
    let probe = try await LinkProbe(to: server, over: transport, roots: .system)
    _ = try await probe.failed()
    let missing = try await LinkProbe(to: server, over: transport, roots: .file("/nonexistent"))
    let reason = try await missing.failed()
    #expect(reason.contains("no authority can be trusted"))
    await server.kill()
  }

  @Test("nothing listens: the reason says so", arguments: [TURNTransport.tcp, .tls])
  func unreachable(transport: TURNTransport) async throws {
    // A port that has just been closed may be somebody else's already; this one is never handed out.
    let address = TransportAddress(ip: IPAddress(ipv4: 0x7f00_0001), port: 1)
    let probe = try await LinkProbe(toAddress: address, over: transport)
    let reason = try await probe.failed()
    #expect(reason.contains("connection refused"))
  }

  @Test("a server that goes away is reported once", arguments: [TURNTransport.tcp, .tls])
  func lost(transport: TURNTransport) async throws {
    let server = try await TestTURNServer()
    let probe = try await LinkProbe(to: server, over: transport)
    _ = try await probe.opened()
    await server.kill()
    let reason = try await probe.failed()
    #expect(reason.contains("closed") || reason.contains("reset"))
    #expect(await probe.close() == 0)
  }

  @Test("T7 datagrams of anyone but the server are dropped and counted")
  func stranger() async throws {
    let server = try await TestTURNServer()
    let probe = try await LinkProbe(to: server, over: .udp)
    let address = try await probe.opened()
    let stranger = try await LinkProbe(toAddress: address, over: .udp)
    _ = try await stranger.opened()
    await stranger.send([[1, 2, 3]])
    #expect(await probe.next() == .dropped(.unknownAddress))
    await stranger.close()
    await probe.close()
    await server.kill()
  }

  @Test("a stream that holds no frames ends with a reason")
  func nonsense() async throws {
    let server = try await TestTURNServer()
    // A proxy's answer is no frame: the link believes that it speaks to a TURN server.
    let proxy = try await TestProxy(.babbles)
    let address = TransportAddress(ip: IPAddress(ipv4: 0x7f00_0001), port: proxy.server.port)
    let probe = try await LinkProbe(toAddress: address, over: .tcp)
    _ = try await probe.opened()
    await probe.send([Array("\r\n\r\n".utf8)])
    let reason = try await probe.failed()
    #expect(reason.contains("neither STUN nor ChannelData"))
    await proxy.close()
    await server.kill()
  }

  // MARK: Proxies

  @Test(
    "through a proxy, with credentials or without", arguments: [TURNTransport.tcp, .tls], [nil, "Basic dTpw"])
  func proxied(transport: TURNTransport, authorization: String?) async throws {
    let server = try await TestTURNServer()
    let proxy = try await TestProxy(authorization: authorization)
    let probe = try await LinkProbe(
      to: server, over: transport,
      proxy: ProxyConfiguration(server: proxy.server(authorization: authorization)))
    _ = try await probe.opened()
    await probe.send([LinkProbe.binding(number: 7)])
    let frame = try await probe.received()
    #expect(frame[19] == 7)
    let heads = proxy.requests.withLock { $0 }
    #expect(heads.count == 1)
    #expect(heads.allSatisfy { $0.hasPrefix("CONNECT localhost:\(server.port(transport)) HTTP/1.1\r\n") })
    await probe.close()
    await proxy.close()
    await server.kill()
  }

  @Test("a name that only the proxy knows is left to it, and verified all the same")
  func proxiedName() async throws {
    let server = try await TestTURNServer()
    let proxy = try await TestProxy()
    let configuration = ProxyConfiguration(server: proxy.server)
    for (name, isRight) in [("localhost", true), ("relay.test", false)] {
      let unknown = TransportAddress(ip: IPAddress(ipv4: 0), port: server.port(.tls))
      let probe = try await LinkProbe(
        toAddress: unknown, over: .tls, hostName: name, proxy: configuration)
      if isRight { _ = try await probe.opened() } else { _ = try await probe.failed() }
      await probe.close()
    }
    #expect(await server.framesReceived(.tls) == 0)
    await proxy.close()
    await server.kill()
  }

  @Test(
    "a proxy that opens no tunnel is a failure with its reason, and never a reason to go without",
    arguments: [
      (TestProxy.Manner.tunnels, "407"), (.refuses("403 Forbidden"), "403"), (.babbles, "no HTTP"),
      (.closes, "did not answer"),
    ])
  func proxyRefuses(manner: TestProxy.Manner, reason: String) async throws {
    let server = try await TestTURNServer()
    let proxy = try await TestProxy(manner, authorization: "Basic right")
    let wrong = proxy.server(authorization: "Basic canary")
    let probe = try await LinkProbe(to: server, over: .tls, proxy: ProxyConfiguration(server: wrong))
    let text = try await probe.failed()
    #expect(text.contains(reason))
    #expect(!text.contains("canary"))
    #expect(await server.framesReceived(.tls) == 0)
    await proxy.close()
    await server.kill()
  }

  @Test("what no_proxy lists goes directly")
  func exception() async throws {
    let server = try await TestTURNServer()
    let proxy = try await TestProxy(.refuses("403 Forbidden"))
    let probe = try await LinkProbe(
      to: server, over: .tcp, proxy: ProxyConfiguration(server: proxy.server, exceptions: "localhost"))
    _ = try await probe.opened()
    #expect(proxy.requests.withLock { $0.isEmpty })
    await probe.close()
    await proxy.close()
    await server.kill()
  }
}

/// A link on its event loop, and what it reported.
struct LinkProbe {
  enum Event: Sendable, Equatable {
    case opened(TransportAddress)
    case failed(String)
    case received([UInt8])
    case dropped(NetworkDropCause)
  }

  private final class Owner: ServerLinkDelegate {
    var link: (any ServerLink)?
    let sink: AsyncStream<Event>.Continuation
    init(_ sink: AsyncStream<Event>.Continuation) { self.sink = sink }
    func link(_ id: ServerConnectionID, openedFrom address: TransportAddress) { sink.yield(.opened(address)) }
    func link(_ id: ServerConnectionID, failedBecause reason: String) { sink.yield(.failed(reason)) }
    func link(_ id: ServerConnectionID, received frame: RawSpan) {
      sink.yield(.received([UInt8](copying: frame)))
    }
    func linkReceivedAll(_ id: ServerConnectionID) {}
    func link(_ id: ServerConnectionID, dropped cause: NetworkDropCause) { sink.yield(.dropped(cause)) }
  }

  private let owner: LoopConfined<Owner>
  private let events: AsyncStream<Event>

  init(
    to server: TestTURNServer, over transport: TURNTransport, hostName: String? = "localhost",
    roots: TrustRoots? = nil, proxy: ProxyConfiguration = .none
  ) async throws {
    let address = TransportAddress(ip: IPAddress(ipv4: 0x7f00_0001), port: server.port(transport))
    try await self.init(toAddress: address, over: transport, hostName: hostName, roots: roots, proxy: proxy)
  }

  init(
    toAddress address: TransportAddress, over transport: TURNTransport, hostName: String? = nil,
    roots: TrustRoots? = nil, proxy: ProxyConfiguration = .none
  ) async throws {
    let roots = try roots ?? .pem(TestCertificates.pem("authority"))
    let eventLoop = MultiThreadedEventLoopGroup.singleton.any()
    let (events, sink) = AsyncStream.makeStream(of: Event.self)
    let owner = LoopConfined(Owner(sink), to: eventLoop)
    self.events = events
    self.owner = owner
    let connection = ServerConnection(
      id: ServerConnectionID(rawValue: 1), transport: transport, server: address, hostName: hostName)
    try await eventLoop.submit {
      let environment = ServerLinkEnvironment(
        eventLoop: eventLoop, trust: ServerTrust(roots: roots, eventLoop: eventLoop), proxy: proxy)
      let link = connection.makeLink(in: environment, delegate: owner.value)
      owner.value.link = link
      link.open()
    }.get()
  }

  /// The next event; the suite's time limit ends a wait in vain.
  func next() async -> Event? {
    for await event in events { return event }
    return nil
  }

  struct UnexpectedEvent: Error { let event: Event? }

  /// The address that the link opens from, next.
  func opened() async throws -> TransportAddress {
    let event = await next()
    guard case .opened(let address) = event else { throw UnexpectedEvent(event: event) }
    return address
  }

  /// Why the link fails, next.
  func failed() async throws -> String {
    let event = await next()
    guard case .failed(let reason) = event else { throw UnexpectedEvent(event: event) }
    return reason
  }

  /// The frame that arrives next.
  func received() async throws -> [UInt8] {
    let event = await next()
    guard case .received(let frame) = event else { throw UnexpectedEvent(event: event) }
    return frame
  }

  /// Sends frames of one length in one burst.
  func send(_ frames: [[UInt8]]) async {
    let owner = owner
    try? await owner.eventLoop.submit {
      owner.value.link?.send(
        ByteBuffer(bytes: frames.joined()), segmentByteCount: frames[0].count, mayDrop: true,
        at: NetworkClock.now)
      owner.value.link?.flush()
    }.get()
  }

  /// Closes the link and says how many events had not been taken.
  @discardableResult
  func close() async -> Int {
    let owner = owner
    try? await owner.eventLoop.submit {
      owner.value.link?.close()
      owner.value.link = nil
      owner.value.sink.finish()
    }.get()
    var count = 0
    for await _ in events { count += 1 }
    return count
  }

  /// A Binding request whose transaction id ends in a number.
  static func binding(number: Int) -> [UInt8] {
    [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42] + [UInt8](repeating: 9, count: 11) + [UInt8(number)]
  }
}
