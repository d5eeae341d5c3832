// SPDX-License-Identifier: Apache-2.0

import Glibc
import WebRTC

/// Data channels between two processes: bytes per second, CPU time for each gigabyte, and round trips.
///
///     DataChannelBenchmark [--seconds 5] [--warm-up 2] [--message 65536] [--model-based] [--no-ping-pong]
///       [--address 10.9.0.1] [--peer-address 10.9.0.2] [--peer-command "ip netns exec there"]
///
/// It starts itself a second time as the receiving peer, on loopback or, by `--peer-command`, in another network
/// namespace; descriptions and figures pass through pipes. Ratios between runs on one machine count.
@main
struct DataChannelBenchmark {
  static func main() async throws {
    let options = Options(CommandLine.arguments)
    if options.isPeer { return try await Peer(options).serve() }
    let run = try await Run(options)
    for byteCount in options.messageByteCounts {
      try await run.measureThroughput(messageByteCount: byteCount)
    }
    if options.measuresPingPong { try await run.measurePingPong() }
    await run.end()
  }
}

/// What the command line says.
struct Options {
  var isPeer = false
  var seconds = 5
  var warmUpSeconds = 2
  var messageByteCounts = [65_536, 1024]
  var isModelBased = false
  var measuresPingPong = true
  var address = "127.0.0.1"
  var peerAddress = "127.0.0.1"
  var peerCommand: [String] = []

  init(_ arguments: [String]) {
    var rest = arguments.dropFirst()[...]
    func value() -> String { rest.popFirst() ?? "" }
    while let option = rest.popFirst() {
      switch option {
      case "--peer": isPeer = true
      case "--seconds": seconds = Int(value()) ?? seconds
      case "--warm-up": warmUpSeconds = Int(value()) ?? warmUpSeconds
      case "--message": messageByteCounts = value().split(separator: ",").compactMap { Int($0) }
      case "--model-based": isModelBased = true
      case "--no-ping-pong": measuresPingPong = false
      case "--address": address = value()
      case "--peer-address": peerAddress = value()
      case "--peer-command": peerCommand = value().split(separator: " ").map(String.init)
      default: fatalError("what is \(option)?")
      }
    }
  }

  func connect() async throws -> (loop: NetworkLoop, connection: PeerConnection) {
    guard let ip = IPAddress(parsing: address) else { fatalError("\(address) is no address") }
    let loop = try await NetworkLoop(configuration: .init(addresses: [ip]))
    var configuration = PeerConnectionConfiguration()
    if isModelBased { configuration.dataChannelCongestionAlgorithm = .modelBased }
    return (loop, try PeerConnection(configuration: configuration, on: loop))
  }
}

/// The measuring side.
struct Run {
  let options: Options
  let loop: NetworkLoop
  let connection: PeerConnection
  let sink: DataChannel
  let echo: DataChannel
  let peer: PeerProcess

  init(_ options: Options) async throws {
    self.options = options
    (loop, connection) = try await options.connect()
    peer = PeerProcess(options)
    sink = try await connection.createDataChannel("sink")
    echo = try await connection.createDataChannel("echo")
    let answer = peer.ask(Hex.encode(try await connection.setLocalDescription().sdp))
    try await connection.setRemoteDescription(.init(type: .answer, sdp: Hex.decode(answer)))
    try await sink.waitUntilOpen()
    try await echo.waitUntilOpen()
  }

  /// One reliable, ordered channel, as full as its high-water mark lets it be.
  func measureThroughput(messageByteCount: Int) async throws {
    let sink = sink
    let sender = Task {
      let message = DataChannelMessage([UInt8](repeating: 7, count: messageByteCount))
      while !Task.isCancelled { try await sink.send(message) }
    }
    try await Task.sleep(for: .seconds(options.warmUpSeconds))
    let before = sample()
    try await Task.sleep(for: .seconds(options.seconds))
    let after = sample()
    sender.cancel()
    _ = await sender.result
    let elapsed = after.time - before.time
    let bytes = Double(after.byteCount - before.byteCount)
    let (ours, peers) = (after.cpu - before.cpu, after.peerCPU - before.peerCPU)
    print(
      "\(messageByteCount)-byte messages: \(rounded(bytes / 1e6 / elapsed)) MB/s,",
      "CPU s/GB: \(rounded(ours * 1e9 / bytes)) sending, \(rounded(peers * 1e9 / bytes)) receiving,",
      "\(rounded((ours + peers) * 1e9 / bytes)) both")
    while sink.bufferedAmount > 0 { try await Task.sleep(for: .milliseconds(50)) }
    try await Task.sleep(for: .milliseconds(300))
  }

  private func sample() -> (time: Double, cpu: Double, byteCount: Int, peerCPU: Double) {
    let answer = peer.ask("sample").split(separator: " ")
    return (
      Clock.seconds(CLOCK_MONOTONIC), Clock.seconds(CLOCK_PROCESS_CPUTIME_ID), Int(answer[0]) ?? 0,
      Double(answer[1]) ?? 0
    )
  }

  /// One byte there and back, again and again.
  func measurePingPong() async throws {
    var times: [Double] = []
    let end = Clock.seconds(CLOCK_MONOTONIC) + Double(options.seconds)
    var answers = echo.messages.makeAsyncIterator()
    while times.count < 20_000 {
      let start = Clock.seconds(CLOCK_MONOTONIC)
      guard start < end else { break }
      try await echo.send([1])
      guard await answers.next() != nil else { break }
      times.append((Clock.seconds(CLOCK_MONOTONIC) - start) * 1e6)
    }
    times.sort()
    guard let best = times.first else { return }
    let (median, late) = (times[times.count / 2], times[times.count * 99 / 100])
    print(
      "ping-pong of 1 byte, \(times.count) times: p50 \(rounded(median)) us, p99 \(rounded(late)) us,",
      "best \(rounded(best)) us")
  }

  func end() async {
    await connection.close()
    await loop.shutdown()
    _ = peer.ask("end")
  }
}

/// The other process: counts what comes on one channel and gives back what comes on the other.
struct Peer {
  let options: Options

  init(_ options: Options) { self.options = options }

  func serve() async throws {
    guard let offer = readLine() else { return }
    let (loop, connection) = try await options.connect()
    let counter = ByteCounter()
    let reader = Task.detached { await Self.read(connection, counter) }
    try await connection.setRemoteDescription(.init(type: .offer, sdp: Hex.decode(offer)))
    answer(Hex.encode(try await connection.setLocalDescription().sdp))
    while let line = readLine(), line != "end" {
      answer("\(counter.value) \(Clock.seconds(CLOCK_PROCESS_CPUTIME_ID))")
    }
    reader.cancel()
    await connection.close()
    await loop.shutdown()
    answer("ended")
  }

  private func answer(_ line: String) {
    print(line)
    fflush(nil)
  }

  private static func read(_ connection: PeerConnection, _ counter: ByteCounter) async {
    await withDiscardingTaskGroup { group in
      for await event in connection.events {
        guard case .dataChannelAdded(let channel) = event else { continue }
        group.addTask {
          for await message in channel.messages {
            if channel.label == "echo" { try? await channel.send(message) }
            counter.add(message.bytes.count)
          }
        }
      }
    }
  }
}
