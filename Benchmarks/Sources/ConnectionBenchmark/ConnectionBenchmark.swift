// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore
import NIOPosix
import WebRTC

/// Connections on loopback: how long until connected and until the first frame, and what a packet costs.
///
/// Ratios between runs on one machine count; absolute figures drift with what else the machine does.
@main
struct ConnectionBenchmark {
  static func main() async throws {
    try await measureSetUp(connections: 50)
    for viewers in [1, 10] { try await measureSending(viewers: viewers) }
  }

  // MARK: Set-up

  /// One connection after the other: from the offer to connected on both sides, and to the first frame.
  static func measureSetUp(connections: Int) async throws {
    let lab = try await Lab()
    var connected: [Duration] = []
    var firstFrame: [Duration] = []
    for _ in 0..<connections {
      let start = ContinuousClock.now
      let pair = try await lab.connect()
      connected.append(ContinuousClock.now - start)
      pair.video.send(frame(number: 0, packets: 9))
      for await _ in pair.received.frames.prefix(1) {}
      firstFrame.append(ContinuousClock.now - start)
      await pair.sender.close()
      await pair.receiver.close()
    }
    print("offer to connected, \(connections) connections: \(summary(connected))")
    print("offer to first frame, \(connections) connections: \(summary(firstFrame))")
    await lab.shutdown()
  }

  static func summary(_ durations: [Duration]) -> String {
    let sorted = durations.sorted()
    func milliseconds(_ share: Double) -> String {
      let duration = sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
      let tenths = Int((duration / .microseconds(100)).rounded())
      return "\(tenths / 10).\(tenths % 10) ms"
    }
    return "p50 \(milliseconds(0.5)), p95 \(milliseconds(0.95)), max \(milliseconds(1))"
  }

  // MARK: Sending

  /// Frames of nine packets to all viewers at 100 frames a second, CPU time of the sending loop's thread
  /// alone.
  static func measureSending(viewers: Int) async throws {
    let lab = try await Lab()
    let broadcast = Broadcast()
    var pairs: [Pair] = []
    for _ in 0..<viewers {
      let pair = try await lab.connect()
      _ = broadcast.add(pair.sender, [.video: pair.video])
      pairs.append(pair)
    }
    let frames = 1000
    let readers = pairs.map { pair in
      Task {
        var count = 0
        for await _ in pair.received.frames.prefix(frames) { count += 1 }
        return count
      }
    }
    let before = try await lab.senderThreadTime()
    let clock = ContinuousClock()
    let start = clock.now
    for number in 0..<frames {
      try await clock.sleep(until: start + .milliseconds(10) * number)
      broadcast.send(frame(number: number, packets: 9), track: .video)
    }
    // The last frames are on their way for as long as the pacer holds them.
    try await clock.sleep(for: .milliseconds(200))
    let spent = try await lab.senderThreadTime() - before
    var packets: UInt64 = 0
    for pair in pairs {
      packets += try await pair.sender.statistics().outboundRTP.reduce(0) { $0 + $1.packetsSent }
    }
    let perPacket = spent / .microseconds(1) / Double(max(packets, 1))
    print("\(viewers) viewer(s): \(packets) RTP packets, \(rounded(perPacket)) us of CPU time each")
    await lab.shutdown()
    var received = 0
    for reader in readers { received += await reader.value }
    print("\(viewers) viewer(s): \(received) of \(frames * viewers) frames received")
  }

  static func rounded(_ value: Double) -> String {
    let hundredths = Int((value * 100).rounded())
    let fraction = hundredths % 100
    return "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction)"
  }

  /// A picture cut into equal FU-A parts (RFC 6184 §5.8) of 1,100 bytes; the first one is a key frame and has
  /// its parameter sets in a STAP-A (§5.7.1) in front.
  static func frame(number: Int, packets: Int) -> PacketizedFrame {
    let size = 1100
    var bytes: [UInt8] = []
    var ranges: [Range<Int>] = []
    if number == 0 {
      let sps: [UInt8] = [0x67, 0x42, 0xe0, 0x1f, 0x8c, 0x8d, 0x40]
      let pps: [UInt8] = [0x68, 0xce, 0x3c, 0x80]
      bytes = [0x78, 0, UInt8(sps.count)] + sps + [0, UInt8(pps.count)] + pps
      ranges = [0..<bytes.count]
    }
    let type: UInt8 = number == 0 ? 5 : 1
    for packet in 0..<packets {
      let flags: UInt8 = packet == 0 ? 0x80 : packet == packets - 1 ? 0x40 : 0
      ranges.append(bytes.count..<bytes.count + size)
      bytes += [0x7c, flags | type] + [UInt8](repeating: UInt8(packet + 1), count: size - 2)
    }
    return PacketizedFrame(
      bytes: bytes, packets: ranges, timestamp: UInt32(truncatingIfNeeded: number * 900),
      isKeyFrame: number == 0, captureTime: NetworkClock.now)
  }
}

/// A sending and a receiving loop on loopback, each on a thread of its own.
struct Lab {
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
  private let senderEventLoop: any EventLoop
  private let senderLoop: NetworkLoop
  private let receiverLoop: NetworkLoop

  init() async throws {
    var eventLoops = group.makeIterator()
    guard let first = eventLoops.next(), let second = eventLoops.next() else { fatalError("two threads") }
    senderEventLoop = first
    senderLoop = try await NetworkLoop(
      configuration: .init(addresses: [IPAddress(ipv4: 0x7f00_0001)], eventLoop: first))
    receiverLoop = try await NetworkLoop(
      configuration: .init(addresses: [IPAddress(ipv4: 0x7f00_0001)], eventLoop: second))
  }

  /// Connects a receiver, which offers, to a sender.
  func connect() async throws -> Pair {
    let receiver = try PeerConnection(configuration: .init(sharesSockets: false), on: receiverLoop)
    let sender = try PeerConnection(on: senderLoop)
    let received = try await receiver.addTransceiver(
      .video, TransceiverInit(direction: .recvonly, codecs: [.h264ConstrainedBaseline]))
    let video = try await sender.addTransceiver(
      .video, TransceiverInit(direction: .sendonly, codecs: [.h264ConstrainedBaseline]))
    try await sender.setRemoteDescription(try await receiver.setLocalDescription())
    try await receiver.setRemoteDescription(try await sender.setLocalDescription())
    for await state in sender.connectionStates where state == .connected { break }
    for await state in receiver.connectionStates where state == .connected { break }
    return Pair(sender: sender, receiver: receiver, video: video, received: received)
  }

  /// CPU time of the sending loop's thread.
  func senderThreadTime() async throws -> Duration {
    try await senderEventLoop.submit {
      var time = timespec()
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
      return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }.get()
  }

  func shutdown() async {
    await senderLoop.shutdown()
    await receiverLoop.shutdown()
  }
}

struct Pair {
  let sender: PeerConnection
  let receiver: PeerConnection
  let video: Transceiver
  let received: Transceiver
}
