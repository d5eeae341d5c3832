// SPDX-License-Identifier: Apache-2.0

internal import SansIO

extension Origin {
  /// `<username> <session id> <version> <network> <family> <address>`
  init(parsing reader: inout SDPFieldReader) throws(SDPError) {
    username = try reader.word("origin")
    sessionID = try reader.number("origin")
    sessionVersion = try reader.number("origin")
    networkType = try reader.word("origin")
    addressType = try reader.word("origin")
    address = try reader.word("origin")
    try reader.expectEnd("origin")
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    writer.literal("o=")
    try writer.word(username, "origin")
    writer.literal(" ")
    writer.number(sessionID)
    writer.literal(" ")
    writer.number(sessionVersion)
    try writer.spacedWords([networkType, addressType, address], "origin")
    writer.endLine()
  }
}

extension ConnectionData {
  init(parsing reader: inout SDPFieldReader) throws(SDPError) {
    networkType = try reader.word("connection")
    addressType = try reader.word("connection")
    address = try reader.word("connection")
    try reader.expectEnd("connection")
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    writer.literal("c=")
    try writer.word(networkType, "connection")
    try writer.spacedWords([addressType, address], "connection")
    writer.endLine()
  }
}

extension Bandwidth {
  /// `<type>:<value>`
  init(parsing reader: inout SDPFieldReader) throws(SDPError) {
    type = try reader.word("bandwidth", stop: UInt8(ascii: ":"))
    guard reader.skip(UInt8(ascii: ":")) else { throw .invalid("bandwidth", line: reader.line) }
    value = try reader.number("bandwidth")
    try reader.expectEnd("bandwidth")
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    writer.literal("b=")
    try writer.word(type, "bandwidth", excluding: UInt8(ascii: ":"))
    writer.literal(":")
    writer.number(value)
    writer.endLine()
  }
}

extension Timing {
  init(parsing reader: inout SDPFieldReader) throws(SDPError) {
    start = try reader.number("timing")
    stop = try reader.number("timing")
    repeats = []
    try reader.expectEnd("timing")
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    writer.literal("t=")
    writer.number(start)
    writer.literal(" ")
    writer.number(stop)
    writer.endLine()
    for value in repeats {
      writer.literal("r=")
      try writer.text(value)
      writer.endLine()
    }
  }
}

extension MediaGroup {
  init(parsing reader: inout SDPFieldReader) throws(SDPError) {
    semantics = try reader.word("group")
    mids = try reader.words("group")
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    writer.literal("a=group:")
    try writer.word(semantics, "group")
    try writer.spacedWords(mids, "group")
    writer.endLine()
  }
}

extension TransportAttributes {
  /// Names of the attributes that ``parse(_:_:)`` takes.
  static let names: Set<String> = ["ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup"]

  /// How many `a=` lines these are.
  var attributeCount: Int {
    [iceUsernameFragment != nil, icePassword != nil, !iceOptions.isEmpty, setup != nil].count { $0 }
      + fingerprints.count
  }

  /// Takes an attribute if it is one of these.
  mutating func parse(_ name: String, _ reader: inout SDPFieldReader) throws(SDPError) -> Bool {
    let line = reader.line
    switch name {
    case "ice-ufrag":
      let value = try reader.word("ice-ufrag")
      try reader.expectEnd("ice-ufrag")
      try assignOnce(&iceUsernameFragment, value, "ice-ufrag", line: line)
    case "ice-pwd":
      let value = try reader.word("ice-pwd")
      try reader.expectEnd("ice-pwd")
      try assignOnce(&icePassword, Secret(value), "ice-pwd", line: line)
    case "ice-options":
      let words = try reader.words("ice-options")
      guard !words.isEmpty else { throw .invalid("ice-options", line: line) }
      guard iceOptions.isEmpty || iceOptions == words else { throw .duplicate("ice-options", line: line) }
      iceOptions = words
    case "fingerprint":
      fingerprints.append(try FingerprintAttribute(parsing: &reader))
    case "setup":
      let word = try reader.word("setup")
      try reader.expectEnd("setup")
      guard let role = SetupRole(rawValue: word) else { throw .invalid("setup", line: line) }
      try assignOnce(&setup, role, "setup", line: line)
    default: return false
    }
    return true
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    if let iceUsernameFragment {
      writer.literal("a=ice-ufrag:")
      try writer.word(iceUsernameFragment, "ice-ufrag")
      writer.endLine()
    }
    if let icePassword {
      writer.literal("a=ice-pwd:")
      try writer.word(icePassword.unredacted, "ice-pwd")
      writer.endLine()
    }
    if let first = iceOptions.first {
      writer.literal("a=ice-options:")
      try writer.word(first, "ice-options")
      try writer.spacedWords(Array(iceOptions.dropFirst()), "ice-options")
      writer.endLine()
    }
    for fingerprint in fingerprints { try fingerprint.write(into: &writer) }
    if let setup { writer.line("a=setup:\(setup.rawValue)") }
  }
}
