// SPDX-License-Identifier: Apache-2.0

import CTUN
import Glibc
import LinkModel

/// The shell around two `LinkDirection`s: two TUN devices, the clock, and one loop. No packet allocates memory.
struct Emulator: ~Copyable {
  /// Packets read from one device before the other has its turn.
  private static let batchMax = 64

  private let leftDevice: CInt
  private let rightDevice: CInt
  private let signals: CInt
  private var forth: LinkDirection
  private var back: LinkDirection
  private let forthMemory: PacketMemory
  private let backMemory: PacketMemory
  private var schedule: ArraySlice<LinkSchedule.Entry>
  private var commands: CommandReader?
  private let start: Nanoseconds

  init(_ arguments: Arguments) throws {
    let left = try Self.open(arguments.left, mtu: arguments.mtu)
    let right = try Self.open(arguments.right, mtu: arguments.mtu)
    leftDevice = left
    rightDevice = right
    signals = ctun_open_signals()
    let slots = arguments.packetsMax
    var seeds = SeededRandom(seed: arguments.seed)
    forth = LinkDirection(conditions: arguments.forth, seed: seeds.next(), packetsMax: slots)
    back = LinkDirection(conditions: arguments.back, seed: seeds.next(), packetsMax: slots)
    forthMemory = PacketMemory(slots: slots, slotByteCount: arguments.mtu)
    backMemory = PacketMemory(slots: slots, slotByteCount: arguments.mtu)
    schedule = (arguments.schedule?.entries ?? [])[...]
    commands = arguments.takesCommands ? CommandReader() : nil
    ctun_be_punctual()
    start = Self.clock()
  }

  private static func open(_ device: Arguments.Device, mtu: Int) throws -> CInt {
    var failedCall: UnsafePointer<CChar>?
    let descriptor = ctun_open(device.namespace, device.name, CInt(mtu), &failedCall)
    guard descriptor >= 0 else {
      let error = String(cString: strerror(errno))
      throw Failure("\(device.name): \(failedCall.map { String(cString: $0) } ?? "open"): \(error)")
    }
    return descriptor
  }

  private static func clock() -> Nanoseconds {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Nanoseconds(time.tv_sec) * 1_000_000_000 + Nanoseconds(time.tv_nsec)
  }

  private var now: Nanoseconds { Self.clock() - start }

  /// Forwards until a signal ends it.
  mutating func run() {
    say(#"{"event":"ready"}"#)
    while true {
      let readable = wait()
      let now = self.now
      while let entry = schedule.first, entry.time <= now {
        schedule.removeFirst()
        apply(entry.change, at: now)
      }
      if readable.contains(.commands) { obeyCommands(at: now) }
      if readable.contains(.left) { Self.receive(from: leftDevice, into: &forth, forthMemory, at: now) }
      if readable.contains(.right) { Self.receive(from: rightDevice, into: &back, backMemory, at: now) }
      Self.deliver(from: &forth, forthMemory, to: rightDevice, at: now)
      Self.deliver(from: &back, backMemory, to: leftDevice, at: now)
      guard readable.contains(.signals) else { continue }
      let signal = ctun_next_signal(signals)
      report(signal == SIGUSR1 ? "statistics" : "end", at: now)
      if signal != SIGUSR1 { return }
    }
  }

  /// What may wake the loop up, by the order of its descriptors.
  private struct Readiness: OptionSet {
    let rawValue: UInt32
    static let left = Readiness(rawValue: 1 << 0)
    static let right = Readiness(rawValue: 1 << 1)
    static let signals = Readiness(rawValue: 1 << 2)
    static let commands = Readiness(rawValue: 1 << 3)
  }

  /// Sleeps until a packet, a signal or a command comes, or something is due.
  private func wait() -> Readiness {
    var deadline = schedule.first?.time ?? .max
    if let due = forth.nextDeadline { deadline = min(deadline, due) }
    if let due = back.nextDeadline { deadline = min(deadline, due) }
    let rest = deadline == .max ? -1 : max(0, deadline - now)
    let descriptors: InlineArray<4, CInt> = [leftDevice, rightDevice, signals, commands?.descriptor ?? -1]
    return descriptors.span.withUnsafeBufferPointer { pointer in
      Readiness(rawValue: ctun_wait(pointer.baseAddress, CInt(pointer.count), rest))
    }
  }

  // MARK: Packets

  private static func receive(
    from device: CInt, into direction: inout LinkDirection, _ memory: PacketMemory, at now: Nanoseconds
  ) {
    for _ in 0..<batchMax {
      guard let slot = direction.claimSlot() else {
        // Whatever comes now is refused; reading it keeps the device from telling of it again and again.
        withUnsafeTemporaryAllocation(byteCount: memory.slotByteCount, alignment: 8) { scratch in
          if read(device, scratch.baseAddress, scratch.count) > 0 { direction.statistics.overflows += 1 }
        }
        continue
      }
      let count = read(device, memory.address(of: slot), memory.slotByteCount)
      guard count > 0 else { return direction.release(slot) }
      direction.accept(slot, byteCount: count, at: now)
    }
  }

  private static func deliver(
    from direction: inout LinkDirection, _ memory: PacketMemory, to device: CInt, at now: Nanoseconds
  ) {
    while let delivery = direction.nextDelivery(at: now) {
      if write(device, memory.address(of: delivery.slot), delivery.byteCount) < 0 {
        direction.statistics.writeFailures += 1
      }
      direction.statistics.latenessPeak = max(direction.statistics.latenessPeak, now - delivery.arrival)
      direction.release(delivery.slot)
    }
  }

  // MARK: Changes and reports

  private mutating func apply(_ change: LinkChange, at now: Nanoseconds) {
    if change.directions.includesForth {
      forth.change(to: change.applied(to: forth.conditions), at: now)
    }
    if change.directions.includesBack {
      back.change(to: change.applied(to: back.conditions), at: now)
    }
  }

  private mutating func obeyCommands(at now: Nanoseconds) {
    for line in commands?.read() ?? [] {
      do {
        apply(try LinkChange(parsing: line), at: now)
        say(#"{"event":"changed"}"#)
      } catch {
        say(#"{"event":"refused"}"#)
        complain("\(error)")
      }
    }
  }

  private func report(_ event: String, at now: Nanoseconds) {
    let seconds = Double(now / 1_000_000) / 1_000
    say(
      #"{"event":"\#(event)","seconds":\#(seconds),"forth":\#(forth.statistics.json),"back":\#(back.statistics.json)}"#
    )
  }
}

/// Writes a line to the standard output, at once.
func say(_ line: String) {
  print(line)
  fflush(nil)
}

/// Writes a line to the standard error.
func complain(_ line: String) {
  let text = "link-emulator: \(line)\n"
  _ = text.utf8.withContiguousStorageIfAvailable { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
