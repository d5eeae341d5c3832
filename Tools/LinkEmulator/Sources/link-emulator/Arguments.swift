// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinkModel

/// Why the emulator does not start.
struct Failure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}

/// What the command line says.
struct Arguments {
  /// One end of the link.
  struct Device {
    /// The path of a network namespace; nil for the emulator's own.
    var namespace: String?
    var name: String
  }

  var left = Device(name: "")
  var right = Device(name: "")
  var forth = LinkConditions()
  var back = LinkConditions()
  var schedule: LinkSchedule?
  var takesCommands = false
  var seed: UInt64 = 1
  var mtu = 1500
  var packetsMax = 16_384

  static let usage = """
    usage: link-emulator --left [NAMESPACE/]DEVICE --right [NAMESPACE/]DEVICE [options]

    Forwards IP packets between two TUN devices, which it makes, as a link of the given conditions would. NAMESPACE is a
    name known to 'ip netns' or the path of a network namespace.

      --forth CONDITIONS   what happens from left to right
      --back CONDITIONS    what happens from right to left
      --both CONDITIONS    the same for both
      --schedule FILE      conditions over time: lines of 'TIME forth|back|both CONDITIONS'
      --commands           read lines of 'forth|back|both CONDITIONS' from the standard input, in effect at once
      --seed N             the same seed, the same losses (default: 1)
      --mtu BYTES          of both devices (default: 1500)
      --packets-max N      packets that each direction can hold (default: 16384)

    CONDITIONS, separated by commas or spaces:
      delay=50ms  jitter=5ms  loss=2%  loss=burst:2%:4  loss=gilbert:1%:25%:100%:0%  reorder=1%[:20ms]
      duplicate=0.5%  rate=2mbit  rate=unlimited  queue=200ms  queue=64kB  perfect

    It says {"event":"ready"} when both devices are up, and its statistics on SIGUSR1 and at the end (SIGINT, SIGTERM),
    each as one line of JSON.
    """

  init(_ words: [String]) throws {
    var rest = words[...]
    while let option = rest.popFirst() {
      if option == "--commands" {
        takesCommands = true
        continue
      }
      guard let value = rest.popFirst() else { throw Failure("'\(option)' needs a value") }
      try set(option, to: value)
    }
    guard !left.name.isEmpty, !right.name.isEmpty else {
      throw Failure("both ends are needed, --left and --right")
    }
  }

  private mutating func set(_ option: String, to value: String) throws {
    switch option {
    case "--left": left = try Device(parsing: value)
    case "--right": right = try Device(parsing: value)
    case "--forth": try forth.apply(value)
    case "--back": try back.apply(value)
    case "--both":
      try forth.apply(value)
      try back.apply(value)
    case "--schedule": schedule = try LinkSchedule(parsing: try readFile(value))
    case "--seed": seed = try number(value, in: 0...UInt64.max)
    case "--mtu": mtu = Int(try number(value, in: 576...65_535))
    case "--packets-max": packetsMax = Int(try number(value, in: 16...1_048_576))
    default: throw Failure("there is no option '\(option)'")
    }
  }

  private func number(_ text: String, in range: ClosedRange<UInt64>) throws -> UInt64 {
    guard let number = UInt64(text), range.contains(number) else {
      throw Failure("'\(text)' is not a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  private func readFile(_ path: String) throws -> String {
    guard let file = fopen(path, "r") else { throw Failure("\(path) cannot be read") }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    while case let byte = getc(file), byte != EOF { bytes.append(UInt8(truncatingIfNeeded: byte)) }
    return String(decoding: bytes, as: UTF8.self)
  }
}

extension Arguments.Device {
  /// Reads `device`, `name/device` or `/path/of/a/namespace/device`.
  init(parsing text: String) throws {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    name = String(parts.last ?? "")
    // IFNAMSIZ is 16 with its closing zero.
    guard (1...15).contains(name.utf8.count) else {
      throw Failure("'\(name)' cannot be a device's name: 1 to 15 bytes")
    }
    switch parts.count {
    case 1: namespace = nil
    case 2 where !parts[0].isEmpty: namespace = "/run/netns/\(parts[0])"
    default: namespace = parts.dropLast().joined(separator: "/")
    }
  }
}
