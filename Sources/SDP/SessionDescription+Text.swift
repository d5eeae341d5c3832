// SPDX-License-Identifier: Apache-2.0

internal import SansIO

extension SessionDescription {
  /// Reads a description (RFC 8866 §5, RFC 9429 §5.8).
  ///
  /// - Throws: ``SDPError`` if a line breaks the grammar, a typed attribute is malformed or contradicts
  ///   another, a control character stands in a value, or a limit of ``SDPLimits`` is passed. Nothing is ever
  ///   left out without a word, but for `k=`, which RFC 8866 §5.12 tells to discard.
  public init(parsing text: String) throws(SDPError) {
    var lines = try SDPLineReader(text)
    self.init(origin: Origin(sessionID: 0, sessionVersion: 0), timings: [])
    try parseStart(&lines)
    var attributeCount = 0
    while let line = try lines.next() {
      var reader = SDPFieldReader(line, of: lines.bytes)
      switch line.letter {
      case UInt8(ascii: "a"):
        attributeCount += 1
        guard attributeCount <= SDPLimits.attributesPerSectionMax else {
          throw .tooManyAttributes(line: line.number)
        }
        try parseAttribute(&reader)
      case UInt8(ascii: "m"):
        guard media.count < SDPLimits.mediaSectionsMax else { throw .tooManyMediaSections }
        media.append(try MediaDescription(parsing: &reader))
        attributeCount = 0
      default:
        if media.isEmpty {
          try parseSessionLine(line, &reader)
        } else {
          try media[media.count - 1].parse(line: line, &reader)
        }
      }
    }
    guard !timings.isEmpty else { throw .missingLine("t=") }
  }

  /// The first three lines, which must be `v=0`, `o=` and `s=`.
  private mutating func parseStart(_ lines: inout SDPLineReader) throws(SDPError) {
    guard let version = try lines.next(), version.letter == UInt8(ascii: "v") else {
      throw .missingLine("v=")
    }
    guard lines.bytes[version.value].elementsEqual([UInt8(ascii: "0")]) else {
      throw .invalid("version", line: version.number)
    }
    guard let line = try lines.next(), line.letter == UInt8(ascii: "o") else { throw .missingLine("o=") }
    var reader = SDPFieldReader(line, of: lines.bytes)
    origin = try Origin(parsing: &reader)
    guard let line = try lines.next(), line.letter == UInt8(ascii: "s") else { throw .missingLine("s=") }
    reader = SDPFieldReader(line, of: lines.bytes)
    name = reader.rest()
  }

  private mutating func parseSessionLine(_ line: SDPLine, _ reader: inout SDPFieldReader) throws(SDPError) {
    switch line.letter {
    case UInt8(ascii: "i"): try assignOnce(&information, reader.rest(), "information", line: line.number)
    case UInt8(ascii: "u"): try assignOnce(&uri, reader.rest(), "URI", line: line.number)
    case UInt8(ascii: "e"): emailAddresses.append(reader.rest())
    case UInt8(ascii: "p"): phoneNumbers.append(reader.rest())
    case UInt8(ascii: "c"):
      try assignOnce(&connection, ConnectionData(parsing: &reader), "connection", line: line.number)
    case UInt8(ascii: "b"): bandwidths.append(try Bandwidth(parsing: &reader))
    case UInt8(ascii: "t"): timings.append(try Timing(parsing: &reader))
    case UInt8(ascii: "r"):
      guard !timings.isEmpty else { throw .unexpectedLine(line: line.number) }
      timings[timings.count - 1].repeats.append(reader.rest())
    case UInt8(ascii: "z"): try assignOnce(&timeZones, reader.rest(), "time zones", line: line.number)
    // RFC 8866 §5.12: an encryption key must be discarded.
    case UInt8(ascii: "k"): break
    default: throw .unexpectedLine(line: line.number)
    }
  }

  private mutating func parseAttribute(_ reader: inout SDPFieldReader) throws(SDPError) {
    let start = reader.position
    while reader.position < reader.end, reader.bytes[reader.position] != UInt8(ascii: ":") {
      reader.position += 1
    }
    guard reader.position > start else { throw .invalid("attribute name", line: reader.line) }
    let name = String(decoding: reader.bytes[start..<reader.position], as: UTF8.self)
    let hasValue = reader.skip(UInt8(ascii: ":"))
    if media.isEmpty {
      try parseSessionAttribute(name, hasValue: hasValue, &reader)
    } else {
      try media[media.count - 1].parse(attribute: name, hasValue: hasValue, &reader)
    }
  }

  private mutating func parseSessionAttribute(
    _ name: String, hasValue: Bool, _ reader: inout SDPFieldReader
  ) throws(SDPError) {
    switch (name, hasValue) {
    case ("group", true): groups.append(try MediaGroup(parsing: &reader))
    case ("extmap", true): extmaps.append(try HeaderExtensionMap(parsing: &reader))
    case ("ice-lite", false): isICELite = true
    case ("end-of-candidates", false): endOfCandidates = true
    case ("extmap-allow-mixed", false): extmapAllowMixed = true
    default:
      if hasValue, try transport.parse(name, &reader) { return }
      if !hasValue, let direction = MediaDirection(rawValue: name) {
        try assignOnce(&self.direction, direction, "direction", line: reader.line)
        return
      }
      guard !Self.isTyped(name) else { throw .invalid("attribute", line: reader.line) }
      attributes.append(Attribute(name: name, value: hasValue ? reader.rest() : nil))
    }
  }

  private static let typedNames: Set<String> = [
    "group", "extmap", "ice-lite", "end-of-candidates", "extmap-allow-mixed", "sendrecv", "sendonly",
    "recvonly", "inactive",
  ]

  /// Whether an attribute has a typed field, so that it may not stand among the others.
  private static func isTyped(_ name: String) -> Bool {
    typedNames.contains(name) || TransportAttributes.names.contains(name)
  }
}

extension SessionDescription {
  /// The description's text, with CRLF line ends; `init(parsing:)` makes an equal value of it.
  ///
  /// - Throws: ``SDPError`` if a value holds a control character, would not read back as it is (a space in a
  ///   media identifier, an attribute with a typed field among the untyped), or a limit is passed.
  public func serialized() throws(SDPError) -> String {
    var writer = SDPWriter()
    try writeSession(into: &writer)
    guard media.count <= SDPLimits.mediaSectionsMax else { throw .tooManyMediaSections }
    for section in media { try section.write(into: &writer) }
    guard writer.bytes.count <= SDPLimits.textBytesMax else {
      throw .textTooLong(byteCount: writer.bytes.count)
    }
    return String(decoding: writer.bytes, as: UTF8.self)
  }

  private func writeSession(into writer: inout SDPWriter) throws(SDPError) {
    writer.line("v=0")
    try origin.write(into: &writer)
    try Self.write("s=", name, into: &writer)
    if let information { try Self.write("i=", information, into: &writer) }
    if let uri { try Self.write("u=", uri, into: &writer) }
    for address in emailAddresses { try Self.write("e=", address, into: &writer) }
    for number in phoneNumbers { try Self.write("p=", number, into: &writer) }
    try connection?.write(into: &writer)
    for bandwidth in bandwidths { try bandwidth.write(into: &writer) }
    guard !timings.isEmpty else { throw .missingLine("t=") }
    for timing in timings { try timing.write(into: &writer) }
    if let timeZones { try Self.write("z=", timeZones, into: &writer) }
    try writeSessionAttributes(into: &writer)
  }

  private static func write(
    _ letter: String, _ value: String, into writer: inout SDPWriter
  ) throws(SDPError) {
    writer.literal(letter)
    try writer.text(value)
    writer.endLine()
  }

  private func writeSessionAttributes(into writer: inout SDPWriter) throws(SDPError) {
    let single = [isICELite, extmapAllowMixed, direction != nil, endOfCandidates].count { $0 }
    let count = single + transport.attributeCount + groups.count + extmaps.count + attributes.count
    guard count <= SDPLimits.attributesPerSectionMax else { throw .tooManyAttributes(line: nil) }
    for group in groups { try group.write(into: &writer) }
    if isICELite { writer.line("a=ice-lite") }
    if extmapAllowMixed { writer.line("a=extmap-allow-mixed") }
    for map in extmaps { try map.write(into: &writer) }
    if let direction { writer.line("a=\(direction.rawValue)") }
    try transport.write(into: &writer)
    for attribute in attributes {
      guard !Self.isTyped(attribute.name) else { throw .invalid("attribute name", line: nil) }
      try attribute.write(into: &writer)
    }
    if endOfCandidates { writer.line("a=end-of-candidates") }
  }
}
