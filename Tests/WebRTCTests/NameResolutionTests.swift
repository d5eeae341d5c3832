// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import NIOPosix
import SansIO
import Testing

@testable import ICE
@testable import WebRTC

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The whole way over the kernel: our question goes to the group on the loopback interface, where a responder of
/// the test answers as a browser does.
@Suite(
  "Names are resolved over real multicast", .timeLimit(.minutes(1)),
  .enabled(
    if: Multicast.links.contains(Multicast.loopback), "this machine's loopback interface has no multicast"))
struct NameResolutionTests {
  @Test(
    "a name is asked for and answered; the sockets are opened for it and stay for the next",
    arguments: Multicast.links)
  func resolves(link: MDNSLink) async throws {
    let stage = ResolutionStage(links: [link])
    let responder = try await Responder(names: ["there.local": [link.address]], on: link)
    let hadSockets = await stage.run { names, _ in names.hasSockets }
    #expect(!hadSockets)
    await stage.resolve("There.local", for: 3)
    let answer = await stage.nextAnswer()
    #expect(answer == .init(name: "There.local", owner: 3, addresses: [link.address]))
    let hasSockets = await stage.run { names, _ in names.hasSockets }
    #expect(hasSockets)
    await stage.run { names, _ in names.linksChanged() }
    await stage.resolve("there.local", for: 4)
    #expect(await stage.nextAnswer()?.owner == 4)
    await responder.close()
    await stage.shutdown()
  }

  @Test("a name that nobody answers for is given up without addresses")
  func givesUp() async throws {
    let stage = ResolutionStage()
    await stage.resolve("nobody.local", for: 1)
    #expect(await stage.nextAnswer() == .init(name: "nobody.local", owner: 1, addresses: []))
    await stage.shutdown()
  }

  @Test("without any link a name is given up as well, and nothing else happens")
  func noLinks() async throws {
    let responder = try await Responder(names: ["unheard.local": [IPAddress(ipv4: 0x7f00_0022)]])
    let stage = ResolutionStage(links: [
      MDNSLink(interfaceName: "no-such-thing", address: IPAddress(ipv4: 0x7f00_0001))
    ])
    await stage.resolve("unheard.local", for: 1)
    #expect(await stage.nextAnswer()?.addresses == [])
    await responder.close()
    await stage.shutdown()
  }

  @Test("a peer whose only candidate is a name is connected, and need not know ours")
  func connects() async throws {
    let responder = try await Responder(names: ["viewer-1.local": [IPAddress(ipv4: 0x7f00_0001)]])
    let bench = try await Bench()
    let viewer = try await bench.makeViewer()
    var offer = try await viewer.receiver.connection.setLocalDescription()
    let candidate = try #require(
      offer.sdp.split(whereSeparator: \.isNewline).first { $0.contains(" typ host") })
    offer = offer.withoutCandidates
    try await viewer.sender.connection.setRemoteDescription(offer)
    let answer = try await viewer.sender.connection.setLocalDescription()
    try await viewer.receiver.connection.setRemoteDescription(answer.withoutCandidates)
    let named = candidate.dropFirst(2).split(separator: " ").map { $0 == "127.0.0.1" ? "viewer-1.local" : $0 }
    try await viewer.sender.connection.addICECandidate(
      ICECandidateInit(candidate: named.joined(separator: " "), sdpMid: "0"))
    try await viewer.sender.connection.waitFor(.connected)
    try await viewer.receiver.connection.waitFor(.connected)
    await bench.shutdown()
    await responder.close()
  }

  @Test("the links are those of the addresses in use, each family once")
  func links() throws {
    func interface(_ name: String, _ text: String) throws -> NetworkInterface {
      NetworkInterface(name: name, address: try #require(IPAddress(text)))
    }
    let interfaces = [
      try interface("lo", "127.0.0.1"), try interface("eth0", "192.0.2.7"),
      try interface("eth0", "192.0.2.8"),
      try interface("eth0", "fe80::1%2"), try interface("eth1", "198.51.100.7"),
    ]
    let links = MDNSLink.links(of: interfaces, using: [interfaces[1].address, interfaces[2].address])
    #expect(
      links == [
        MDNSLink(interfaceName: "eth0", address: interfaces[1].address),
        MDNSLink(interfaceName: "eth0", address: interfaces[3].address),
      ])
    #expect(MDNSLink.links(of: interfaces, using: []) == [])
  }
}

enum Multicast {
  static let loopback = MDNSLink(interfaceName: "lo", address: IPAddress(ipv4: 0x7f00_0001))

  /// The families in which the loopback interface has multicast.
  static let links = [loopback, MDNSLink(interfaceName: "lo", address: IPAddress(ipv6High: 0, low: 1))]
    .filter(works)

  /// Whether a datagram to the group comes back; found out by sending one.
  private static func works(_ link: MDNSLink) -> Bool {
    guard let descriptor = try? MulticastDescriptor.open(link) else { return false }
    defer { close(descriptor) }
    let sent = MDNSResolver.group(link.family).withSocketAddress { sendto(descriptor, [0], 1, 0, $0, $1) }
    guard sent == 1 else { return false }
    var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&waiting, 1, 1000) == 1
  }
}

/// ``NameResolution`` on an event loop.
private final class ResolutionStage: Sendable {
  private let names: LoopConfined<NameResolution>
  private let answers: AsyncStream<MDNSResolver.Answer>

  init(links: [MDNSLink] = [Multicast.loopback]) {
    let (answers, sink) = AsyncStream.makeStream(of: MDNSResolver.Answer.self)
    let eventLoop = MultiThreadedEventLoopGroup.singleton.any()
    self.answers = answers
    names = LoopConfined(
      NameResolution(
        eventLoop: eventLoop, logger: Logger(label: "test"), links: { links },
        answered: { answer, _ in sink.yield(answer) }),
      to: eventLoop)
  }

  func resolve(_ name: String, for owner: Int) async {
    await run { names, now in names.resolve(name, for: owner, at: now) }
  }

  func nextAnswer() async -> MDNSResolver.Answer? {
    for await answer in answers { return answer }
    return nil
  }

  func run<Result: Sendable>(_ body: @escaping @Sendable (NameResolution, Instant) -> Result) async -> Result
  {
    let names = names
    return await withCheckedContinuation { continuation in
      names.eventLoop.execute { continuation.resume(returning: body(names.value, NetworkClock.now)) }
    }
  }

  func shutdown() async { await run { names, _ in names.shutdown() } }
}

/// Answers for names on the loopback interface, as a browser does: to the group.
final class Responder: Sendable {
  private final class State {
    let names: [DNSName: [IPAddress]]
    var socket: MDNSSocket?

    init(names: [DNSName: [IPAddress]]) { self.names = names }

    func received(_ datagram: RawSpan) {
      guard let query = try? DNSMessage(parsing: datagram), !query.isResponse else { return }
      let records = query.questions.flatMap { question in
        (names[question.name] ?? []).filter { $0.family == question.family }
          .map { DNSAddressRecord(name: question.name, address: $0, timeToLiveSeconds: 120) }
      }
      guard !records.isEmpty else { return }
      let response = DNSMessage(isResponse: true, records: records)
      socket?.send(ByteBuffer(bytes: [UInt8](writing: response.byteCount) { response.write(into: &$0) }))
    }
  }

  private let state: LoopConfined<State>

  init(names: [String: [IPAddress]], on link: MDNSLink = Multicast.loopback) async throws {
    let eventLoop = MultiThreadedEventLoopGroup.singleton.any()
    let byName = Dictionary(
      uniqueKeysWithValues: names.compactMap { name, addresses in DNSName(name).map { ($0, addresses) } })
    let state = LoopConfined(State(names: byName), to: eventLoop)
    self.state = state
    try await eventLoop.flatSubmit {
      do {
        return try MDNSSocket.open(link, on: eventLoop) { datagram, _ in
          state.value.received(datagram)
        }
        .map { state.value.socket = $0 }.nonisolated()
      } catch {
        return eventLoop.makeFailedFuture(error)
      }
    }.get()
  }

  func close() async {
    let state = state
    await withCheckedContinuation { continuation in
      state.eventLoop.execute {
        state.value.socket?.close()
        continuation.resume()
      }
    }
  }
}
