// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// The largest RTP payload type: seven bits (RFC 3550 §5.1).
let payloadTypeMax: UInt8 = 127

extension FingerprintAttribute {
  init(parsing reader: inout SDPFieldReader) throws(SDPError) {
    hashFunction = try reader.word("fingerprint")
    value = try reader.word("fingerprint")
    try reader.expectEnd("fingerprint")
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    writer.literal("a=fingerprint:")
    try writer.word(hashFunction, "fingerprint")
    writer.literal(" ")
    try writer.word(value, "fingerprint")
    writer.endLine()
  }
}

extension RTPMap {
  /// `<payload type> <encoding name>/<clock rate>[/<channels>]`
  init(parsing reader: inout SDPFieldReader) throws(SDPError) {
    payloadType = try reader.number("rtpmap", max: payloadTypeMax)
    encodingName = try reader.word("rtpmap", stop: UInt8(ascii: "/"))
    guard reader.skip(UInt8(ascii: "/")) else { throw .invalid("rtpmap", line: reader.line) }
    clockRateHertz = try reader.number("rtpmap", stop: UInt8(ascii: "/"))
    if reader.skip(UInt8(ascii: "/")) {
      let count: UInt8 = try reader.number("rtpmap")
      channels = Int(count)
    }
    try reader.expectEnd("rtpmap")
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    guard payloadType <= payloadTypeMax, (channels ?? 1) >= 0, (channels ?? 1) <= 255 else {
      throw .invalid("rtpmap", line: nil)
    }
    writer.literal("a=rtpmap:")
    writer.number(payloadType)
    writer.literal(" ")
    try writer.word(encodingName, "rtpmap", excluding: UInt8(ascii: "/"))
    writer.literal("/")
    writer.number(clockRateHertz)
    if let channels {
      writer.literal("/")
      writer.number(UInt(channels))
    }
    writer.endLine()
  }
}

extension FormatParameters {
  init(parsing reader: inout SDPFieldReader) throws(SDPError) {
    payloadType = try reader.number("fmtp", max: payloadTypeMax)
    text = reader.rest()
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    guard payloadType <= payloadTypeMax else { throw .invalid("fmtp", line: nil) }
    writer.literal("a=fmtp:")
    writer.number(payloadType)
    if !text.isEmpty {
      writer.literal(" ")
      try writer.rest(text, "fmtp")
    }
    writer.endLine()
  }
}

extension RTCPFeedback {
  init(parsing reader: inout SDPFieldReader) throws(SDPError) {
    if reader.skip(UInt8(ascii: "*")) {
      payloadType = nil
      reader.skipSpaces()
    } else {
      payloadType = try reader.number("rtcp-fb", max: payloadTypeMax)
    }
    value = try reader.someRest("rtcp-fb")
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    guard payloadType ?? 0 <= payloadTypeMax else { throw .invalid("rtcp-fb", line: nil) }
    writer.literal("a=rtcp-fb:")
    if let payloadType { writer.number(payloadType) } else { writer.literal("*") }
    writer.literal(" ")
    try writer.rest(value, "rtcp-fb")
    writer.endLine()
  }
}

extension HeaderExtensionMap {
  /// RFC 8285 §5 and §6: 15 is reserved in one-byte headers, yet valid in two-byte ones; 4,096 up for offers.
  private static func isValid(_ id: UInt16) -> Bool { (1...255).contains(id) || (4_096...4_351).contains(id) }

  /// `<id>[/<direction>] <URI>[ <attributes>]`
  init(parsing reader: inout SDPFieldReader) throws(SDPError) {
    id = try reader.number("extmap", stop: UInt8(ascii: "/"))
    guard Self.isValid(id) else { throw .invalid("extmap", line: reader.line) }
    if reader.skip(UInt8(ascii: "/")) {
      guard let direction = MediaDirection(rawValue: try reader.word("extmap")) else {
        throw .invalid("extmap", line: reader.line)
      }
      self.direction = direction
    }
    uri = try reader.word("extmap")
    if !reader.isAtEnd { extensionAttributes = reader.rest() }
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    guard Self.isValid(id) else { throw .invalid("extmap", line: nil) }
    writer.literal("a=extmap:")
    writer.number(id)
    if let direction {
      writer.literal("/")
      writer.literal(direction.rawValue)
    }
    writer.literal(" ")
    // Behind "<id> " a slash would read back as a direction.
    guard !uri.hasPrefix("/") else { throw .invalid("extmap", line: nil) }
    try writer.word(uri, "extmap")
    if let extensionAttributes {
      writer.literal(" ")
      try writer.rest(extensionAttributes, "extmap")
    }
    writer.endLine()
  }
}

extension SSRCAttribute {
  /// `<ssrc> <name>[:<value>]`
  init(parsing reader: inout SDPFieldReader) throws(SDPError) {
    ssrc = try reader.number("ssrc")
    name = try reader.word("ssrc", stop: UInt8(ascii: ":"))
    if reader.skip(UInt8(ascii: ":")) { value = reader.rest() }
    try reader.expectEnd("ssrc")
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    writer.literal("a=ssrc:")
    writer.number(ssrc)
    writer.literal(" ")
    try writer.word(name, "ssrc", excluding: UInt8(ascii: ":"))
    if let value {
      writer.literal(":")
      try writer.text(value)
    }
    writer.endLine()
  }
}

extension SSRCGroup {
  init(parsing reader: inout SDPFieldReader) throws(SDPError) {
    semantics = try reader.word("ssrc-group")
    ssrcs = []
    while !reader.isAtEnd { ssrcs.append(try reader.number("ssrc-group")) }
    guard !ssrcs.isEmpty else { throw .invalid("ssrc-group", line: reader.line) }
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    guard !ssrcs.isEmpty else { throw .invalid("ssrc-group", line: nil) }
    writer.literal("a=ssrc-group:")
    try writer.word(semantics, "ssrc-group")
    for ssrc in ssrcs {
      writer.literal(" ")
      writer.number(ssrc)
    }
    writer.endLine()
  }
}

extension MediaStreamIdentifier {
  init(parsing reader: inout SDPFieldReader) throws(SDPError) {
    streamID = try reader.word("msid")
    if !reader.isAtEnd { trackID = try reader.word("msid") }
    try reader.expectEnd("msid")
  }

  func write(into writer: inout SDPWriter) throws(SDPError) {
    writer.literal("a=msid:")
    try writer.word(streamID, "msid")
    if let trackID {
      writer.literal(" ")
      try writer.word(trackID, "msid")
    }
    writer.endLine()
  }
}

extension Attribute {
  func write(into writer: inout SDPWriter) throws(SDPError) {
    guard !name.isEmpty, !name.utf8.contains(UInt8(ascii: ":")) else {
      throw .invalid("attribute name", line: nil)
    }
    writer.literal("a=")
    try writer.text(name)
    if let value {
      writer.literal(":")
      try writer.text(value)
    }
    writer.endLine()
  }
}
