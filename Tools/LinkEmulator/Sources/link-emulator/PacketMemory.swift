// SPDX-License-Identifier: Apache-2.0

/// The bytes of one direction's packets, a slot each. Taken from the system once, touched only as far as it is used,
/// and kept until the program ends.
struct PacketMemory {
  let slotByteCount: Int
  private let base: UnsafeMutableRawPointer

  init(slots: Int, slotByteCount: Int) {
    self.slotByteCount = slotByteCount
    base = .allocate(byteCount: slots * slotByteCount, alignment: 64)
  }

  func address(of slot: Int32) -> UnsafeMutableRawPointer {
    base + Int(slot) * slotByteCount
  }
}
