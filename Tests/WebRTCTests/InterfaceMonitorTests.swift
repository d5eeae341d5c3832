// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import NIOPosix
import SansIO
import Testing

@testable import WebRTC

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Real changes of this machine's loopback interface, taken back at the end. They need root and `ip`.
@Suite(
  "Changes of interfaces are noticed", .timeLimit(.minutes(1)), .serialized,
  .enabled(if: LoopbackAddress.canBeChanged, "adding an address takes root and the program ip"))
struct InterfaceMonitorTests {
  @Test("an address that comes and one that goes are each reported once the dust has settled")
  func reports() async throws {
    let (changes, sink) = AsyncStream.makeStream(of: Void.self)
    let eventLoop = MultiThreadedEventLoopGroup.singleton.any()
    let monitor = LoopConfined(
      InterfaceMonitor(eventLoop: eventLoop, logger: Logger(label: "test")) { sink.yield() }, to: eventLoop)
    try await eventLoop.submit { monitor.value.start() }.get()
    let address = LoopbackAddress("127.0.0.76")
    // The socket is open once the loop has turned; only then is the change made.
    try await eventLoop.submit {}.get()
    var reports = changes.makeAsyncIterator()
    address.add()
    await reports.next()
    address.remove()
    await reports.next()
    try await eventLoop.submit { monitor.value.stop() }.get()
  }

  @Test("a loop opens a socket on a new address, tells running connections, and closes it when it is gone")
  func loopFollows() async throws {
    let loop = try await NetworkLoop(configuration: .init(includesLoopback: true))
    let connection = try PeerConnection(on: loop)
    try await connection.addTransceiver(.audio, .init(direction: .sendonly, codecs: [.opus]))
    try await connection.setLocalDescription()
    let address = LoopbackAddress("127.0.0.77")
    defer { address.remove() }
    address.add()
    for await candidate in connection.candidates where candidate?.candidate.contains(address.text) == true {
      break
    }
    let ip = try #require(IPAddress(address.text))
    #expect(loop.localAddresses.contains { $0.ip == ip })
    address.remove()
    while loop.localAddresses.contains(where: { $0.ip == ip }) { await Task.yield() }
    #expect(!loop.localAddresses.isEmpty)
    await connection.close()
    await loop.shutdown()
  }

  /// Addresses that are not loopback ones but live on the loopback interface: the host loses the one that carries
  /// the call, gets it back, and loses the other.
  @Test("media goes on when the address that carries it goes, and over one that came during the call")
  func mediaSurvives() async throws {
    let first = LoopbackAddress("198.51.100.77")
    let second = LoopbackAddress("198.51.100.78")
    let far = LoopbackAddress("198.51.100.79")
    for address in [first, second, far] { address.add() }
    defer { for address in [first, second, far] { address.remove() } }
    let loop = try await NetworkLoop(
      configuration: .init(addresses: [try first.ip, try second.ip]))
    let farLoop = try await NetworkLoop(configuration: .init(addresses: [try far.ip]))
    let viewer = Viewer(
      sender: try await Side(on: loop, direction: .sendonly),
      receiver: try await Side(on: farLoop, direction: .recvonly))
    try await viewer.connect()
    func watch(_ number: Int) async {
      for await state in viewer.sender.connection.connectionStates where state == .connected { break }
      viewer.sender.video.send(TestMedia.picture(number: number, isKeyFrame: true).packetized)
      for await _ in viewer.receiver.video.frames.prefix(1) {}
    }
    func wait(until isThere: Bool, _ ip: IPAddress) async {
      while loop.localAddresses.contains(where: { $0.ip == ip }) != isThere { await Task.yield() }
      // The turn that changed the addresses is over when this has been answered.
      _ = await loop.statistics()
    }
    await watch(0)
    first.remove()
    await wait(until: false, try first.ip)
    await watch(1)
    first.add()
    await wait(until: true, try first.ip)
    second.remove()
    await wait(until: false, try second.ip)
    await watch(2)
    #expect(viewer.sender.connection.connectionState == .connected)
    await loop.shutdown()
    await farLoop.shutdown()
  }
}

/// An address of the loopback interface that a test adds and removes.
private struct LoopbackAddress {
  let text: String

  init(_ text: String) { self.text = text }

  var ip: IPAddress {
    get throws { try #require(IPAddress(text)) }
  }

  /// Whether this process may add addresses; found out by doing so.
  static let canBeChanged: Bool = {
    guard geteuid() == 0 else { return false }
    let probe = LoopbackAddress("127.0.0.75")
    defer { probe.remove() }
    return probe.add()
  }()

  @discardableResult
  func add() -> Bool { run(["ip", "address", "add", "\(text)/32", "dev", "lo"]) }

  @discardableResult
  func remove() -> Bool { run(["ip", "address", "delete", "\(text)/32", "dev", "lo"]) }

  private func run(_ arguments: [String]) -> Bool {
    var pid: pid_t = 0
    var vector = arguments.map { strdup($0) } + [nil]
    defer { for argument in vector { free(argument) } }
    guard posix_spawnp(&pid, arguments[0], nil, nil, &vector, environ) == 0 else { return false }
    var status: CInt = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    return status == 0
  }
}
