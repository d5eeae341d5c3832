// SPDX-License-Identifier: Apache-2.0

internal import SansIO

extension MediaDescription {
  /// Reads an m-line: `<kind> <port>[/<count>] <protocol> <format> ...`
  init(parsing reader: inout SDPFieldReader) throws(SDPError) {
    kind = MediaKind(name: try reader.word("m-line"))
    port = try reader.number("port", stop: UInt8(ascii: "/"))
    if reader.skip(UInt8(ascii: "/")) { portCount = try reader.number("port") }
    protocolName = try reader.word("protocol")
    formats = try reader.words("format")
    try checkFormats(line: reader.line)
  }

  /// At least one format; in RTP, payload types of seven bits, none of them twice.
  func checkFormats(line: Int?) throws(SDPError) {
    guard !formats.isEmpty else { throw .invalid("format", line: line) }
    guard isRTP else { return }
    var seen = InlineArray<128, Bool>(repeating: false)
    for format in formats {
      guard let payloadType = UInt8(format), payloadType <= payloadTypeMax, String(payloadType) == format
      else { throw .invalid("payload type", line: line) }
      guard !seen[Int(payloadType)] else { throw .duplicate("payload type", line: line) }
      seen[Int(payloadType)] = true
    }
  }

  /// Reads a line that is not an attribute.
  mutating func parse(line: SDPLine, _ reader: inout SDPFieldReader) throws(SDPError) {
    switch line.letter {
    case UInt8(ascii: "i"): try assignOnce(&information, reader.rest(), "information", line: line.number)
    case UInt8(ascii: "c"): connections.append(try ConnectionData(parsing: &reader))
    case UInt8(ascii: "b"): bandwidths.append(try Bandwidth(parsing: &reader))
    // RFC 8866 §5.12: an encryption key must be discarded.
    case UInt8(ascii: "k"): break
    default: throw .unexpectedLine(line: line.number)
    }
  }

  /// Reads an attribute; `value` stands behind the colon and is `nil` where there is none.
  mutating func parse(
    attribute name: String, hasValue: Bool, _ reader: inout SDPFieldReader
  ) throws(SDPError) {
    if hasValue {
      if try transport.parse(name, &reader) { return }
      if isRTP, try parseFormat(name, &reader) { return }
      if try parseValue(name, &reader) { return }
    } else if try parseFlag(name, line: reader.line) {
      return
    }
    guard !isTyped(name) else { throw .invalid("attribute", line: reader.line) }
    attributes.append(Attribute(name: name, value: hasValue ? reader.rest() : nil))
  }

  private mutating func parseFlag(_ name: String, line: Int) throws(SDPError) -> Bool {
    switch name {
    case "rtcp-mux": rtcpMux = true
    case "rtcp-rsize": rtcpRsize = true
    case "bundle-only": isBundleOnly = true
    case "end-of-candidates": endOfCandidates = true
    case "extmap-allow-mixed": extmapAllowMixed = true
    default:
      guard let direction = MediaDirection(rawValue: name) else { return false }
      try assignOnce(&declaredDirection, direction, "direction", line: line)
    }
    return true
  }

  /// Attributes of a payload type.
  private mutating func parseFormat(_ name: String, _ reader: inout SDPFieldReader) throws(SDPError) -> Bool {
    switch name {
    case "rtpmap":
      let map = try RTPMap(parsing: &reader)
      if let known = rtpMaps.first(where: { $0.payloadType == map.payloadType }) {
        guard known == map else { throw .duplicate("rtpmap", line: reader.line) }
      } else {
        rtpMaps.append(map)
      }
    case "fmtp": fmtp.append(try FormatParameters(parsing: &reader))
    case "rtcp-fb": rtcpFeedback.append(try RTCPFeedback(parsing: &reader))
    default: return false
    }
    return true
  }

  private mutating func parseValue(_ name: String, _ reader: inout SDPFieldReader) throws(SDPError) -> Bool {
    switch name {
    case "mid":
      let value = try reader.word("mid")
      try reader.expectEnd("mid")
      try assignOnce(&mid, value, "mid", line: reader.line)
    case "candidate": candidates.append("candidate:" + (try reader.someRest("candidate")))
    case "extmap": extmaps.append(try HeaderExtensionMap(parsing: &reader))
    case "msid": msids.append(try MediaStreamIdentifier(parsing: &reader))
    case "ssrc": ssrcs.append(try SSRCAttribute(parsing: &reader))
    case "ssrc-group": ssrcGroups.append(try SSRCGroup(parsing: &reader))
    case "sctp-port":
      let port: UInt16 = try reader.number("sctp-port")
      try reader.expectEnd("sctp-port")
      try assignOnce(&sctpPort, port, "sctp-port", line: reader.line)
    case "max-message-size":
      let size: UInt64 = try reader.number("max-message-size")
      try reader.expectEnd("max-message-size")
      try assignOnce(&maxMessageSize, size, "max-message-size", line: reader.line)
    default: return false
    }
    return true
  }

  private static let flagNames: Set<String> = [
    "rtcp-mux", "rtcp-rsize", "bundle-only", "end-of-candidates", "extmap-allow-mixed", "sendrecv",
    "sendonly",
    "recvonly", "inactive",
  ]
  private static let valueNames: Set<String> = [
    "mid", "candidate", "extmap", "msid", "ssrc", "ssrc-group", "sctp-port", "max-message-size",
  ]
  private static let formatNames: Set<String> = ["rtpmap", "fmtp", "rtcp-fb"]

  /// Whether an attribute has a typed field, so that it may not stand among the others.
  private func isTyped(_ name: String) -> Bool {
    Self.flagNames.contains(name) || Self.valueNames.contains(name)
      || TransportAttributes.names.contains(name)
      || (isRTP && Self.formatNames.contains(name))
  }

  /// How many `a=` lines this writes.
  private var attributeCount: Int {
    let single = [
      mid != nil, declaredDirection != nil, endOfCandidates, isBundleOnly, rtcpMux, rtcpRsize,
      extmapAllowMixed,
      sctpPort != nil, maxMessageSize != nil,
    ]
    return single.count { $0 } + transport.attributeCount + candidates.count + rtpMaps.count
      + rtcpFeedback.count + fmtp.count + extmaps.count + msids.count + ssrcs.count + ssrcGroups.count
      + attributes.count
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    guard attributeCount <= SDPLimits.attributesPerSectionMax else { throw .tooManyAttributes(line: nil) }
    try writeHead(into: &writer)
    try transport.write(into: &writer)
    if let mid {
      writer.literal("a=mid:")
      try writer.word(mid, "mid")
      writer.endLine()
    }
    if isBundleOnly { writer.line("a=bundle-only") }
    if extmapAllowMixed { writer.line("a=extmap-allow-mixed") }
    for map in extmaps { try map.write(into: &writer) }
    if let declaredDirection { writer.line("a=\(declaredDirection.rawValue)") }
    for msid in msids { try msid.write(into: &writer) }
    if rtcpMux { writer.line("a=rtcp-mux") }
    if rtcpRsize { writer.line("a=rtcp-rsize") }
    try writeFormats(into: &writer)
    for group in ssrcGroups { try group.write(into: &writer) }
    for ssrc in ssrcs { try ssrc.write(into: &writer) }
    if let sctpPort { writer.line("a=sctp-port:\(sctpPort)") }
    if let maxMessageSize { writer.line("a=max-message-size:\(maxMessageSize)") }
    for attribute in attributes {
      guard !isTyped(attribute.name) else { throw .invalid("attribute name", line: nil) }
      try attribute.write(into: &writer)
    }
    try writeCandidates(into: &writer)
  }

  private func writeHead(into writer: inout SDPWriter) throws(SDPError) {
    try checkFormats(line: nil)
    guard kind == MediaKind(name: kind.name) else { throw .invalid("m-line", line: nil) }
    writer.literal("m=")
    try writer.word(kind.name, "m-line")
    writer.literal(" ")
    writer.number(port)
    if let portCount {
      writer.literal("/")
      writer.number(portCount)
    }
    writer.literal(" ")
    try writer.word(protocolName, "protocol")
    try writer.spacedWords(formats, "format")
    writer.endLine()
    if let information {
      writer.literal("i=")
      try writer.text(information)
      writer.endLine()
    }
    for connection in connections { try connection.write(into: &writer) }
    for bandwidth in bandwidths { try bandwidth.write(into: &writer) }
  }

  private func writeFormats(into writer: inout SDPWriter) throws(SDPError) {
    guard isRTP || (rtpMaps.isEmpty && rtcpFeedback.isEmpty && fmtp.isEmpty) else {
      throw .invalid("rtpmap", line: nil)
    }
    var seen = InlineArray<128, Bool>(repeating: false)
    for map in rtpMaps {
      try map.write(into: &writer)
      guard !seen[Int(map.payloadType)] else { throw .duplicate("rtpmap", line: nil) }
      seen[Int(map.payloadType)] = true
    }
    for feedback in rtcpFeedback { try feedback.write(into: &writer) }
    for parameters in fmtp { try parameters.write(into: &writer) }
  }

  private func writeCandidates(into writer: inout SDPWriter) throws(SDPError) {
    let prefix = "candidate:"
    for candidate in candidates {
      guard candidate.hasPrefix(prefix), candidate.utf8.count > prefix.utf8.count else {
        throw .invalid("candidate", line: nil)
      }
      writer.literal("a=")
      try writer.text(candidate)
      writer.endLine()
    }
    if endOfCandidates { writer.line("a=end-of-candidates") }
  }
}
