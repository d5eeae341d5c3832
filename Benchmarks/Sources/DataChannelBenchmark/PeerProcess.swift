// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// This program again, as the receiving peer, asked and answering line by line.
struct PeerProcess {
  private let toPeer: Int32
  private let fromPeer: UnsafeMutablePointer<FILE>

  init(_ options: Options) {
    var (down, up): ((Int32, Int32), (Int32, Int32)) = (Self.pipe(), Self.pipe())
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, down.0, 0)
    posix_spawn_file_actions_adddup2(&actions, up.1, 1)
    let arguments =
      options.peerCommand + [Self.program, "--peer", "--address", options.peerAddress]
      + (options.isModelBased ? ["--model-based"] : [])
    var words = arguments.map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var process = pid_t()
    guard posix_spawnp(&process, arguments[0], &actions, nil, &words, environ) == 0 else {
      fatalError("cannot start \(arguments)")
    }
    close(down.0)
    close(up.1)
    toPeer = down.1
    guard let file = fdopen(up.0, "r") else { fatalError("no pipe") }
    fromPeer = file
    (down, up) = ((0, 0), (0, 0))
  }

  private static func pipe() -> (Int32, Int32) {
    var ends: [Int32] = [0, 0]
    guard pipe2(&ends, O_CLOEXEC) == 0 else { fatalError("no pipe") }
    return (ends[0], ends[1])
  }

  private static var program: String {
    var path = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &path, path.count)
    return String(decoding: path.prefix(max(count, 0)).map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// Writes a line and waits for the answer.
  func ask(_ line: String) -> String {
    var text = Array((line + "\n").utf8)
    while !text.isEmpty {
      let written = write(toPeer, text, text.count)
      guard written > 0 else { fatalError("the peer is gone") }
      text.removeFirst(written)
    }
    var buffer: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { free(buffer) }
    guard getline(&buffer, &capacity, fromPeer) > 0, let buffer else { fatalError("the peer is gone") }
    return String(String(cString: buffer).dropLast())
  }
}

/// Bytes that were counted on one task and are read on another.
final class ByteCounter: Sendable {
  private let count = Atomic(0)
  var value: Int { count.load(ordering: .relaxed) }
  func add(_ byteCount: Int) { count.add(byteCount, ordering: .relaxed) }
}

enum Clock {
  static func seconds(_ clock: clockid_t) -> Double {
    var time = timespec()
    clock_gettime(clock, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}

/// Descriptions have many lines; the pipe takes one.
enum Hex {
  static func encode(_ text: String) -> String {
    text.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  static func decode(_ text: String) -> String {
    let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    let bytes = stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] * 16 + digits[$0 + 1]) }
    return String(decoding: bytes, as: UTF8.self)
  }
}

func rounded(_ value: Double) -> String {
  let hundredths = Int((value * 100).rounded())
  let fraction = hundredths % 100
  return "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction)"
}
