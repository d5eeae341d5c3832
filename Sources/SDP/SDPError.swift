// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Why a session description was refused, on reading or on writing.
///
/// Lines are counted from 1; writing has no line. No case carries text of the description.
public enum SDPError: Error, Hashable, Sendable {
  /// The text is longer than ``SDPLimits/textBytesMax``.
  case textTooLong(byteCount: Int)
  /// More m-lines than ``SDPLimits/mediaSectionsMax``.
  case tooManyMediaSections
  /// More attributes in one section than ``SDPLimits/attributesPerSectionMax``.
  case tooManyAttributes(line: Int?)
  /// A byte below 0x20, 0x7f, or a line end inside a value (RFC 8866 §9 forbids NUL, CR and LF; we forbid all).
  case controlCharacter(line: Int?)
  /// Not of the form `<letter>=<value>`.
  case malformedLine(line: Int)
  /// A type letter that RFC 8866 §5 does not know or not in this place.
  case unexpectedLine(line: Int)
  /// `v=`, `o=`, `s=` or `t=` does not stand where RFC 8866 §5 wants it.
  case missingLine(ParseError.Cause)
  /// The named field holds a value that its specification forbids.
  case invalid(ParseError.Cause, line: Int?)
  /// The named field occurs twice with different values where one is allowed.
  case duplicate(ParseError.Cause, line: Int?)
}

extension SDPError: CustomStringConvertible {
  /// A sentence for a log.
  public var description: String {
    switch self {
    case .textTooLong(let byteCount):
      "a session description of \(byteCount) bytes is longer than \(SDPLimits.textBytesMax)"
    case .tooManyMediaSections: "more than \(SDPLimits.mediaSectionsMax) m-lines"
    case .tooManyAttributes(let line):
      "more than \(SDPLimits.attributesPerSectionMax) attributes in one section\(Self.place(line))"
    case .controlCharacter(let line): "a control character\(Self.place(line))"
    case .malformedLine(let line): "not <letter>=<value>\(Self.place(line))"
    case .unexpectedLine(let line): "a line of this type has no place here\(Self.place(line))"
    case .missingLine(let field): "the \(field) line is missing or out of place"
    case .invalid(let field, let line): "invalid \(field)\(Self.place(line))"
    case .duplicate(let field, let line): "\(field) given twice, differently\(Self.place(line))"
    }
  }

  private static func place(_ line: Int?) -> String { line.map { " (line \($0))" } ?? "" }
}

/// How much of a peer's description is read. More is an error, never a part of it.
public enum SDPLimits {
  /// Bytes of text. A browser's offer has 7 KB, a conference of 64 sections some 100 KB, a message of the
  /// signaling service at most 10 KB.
  public static let textBytesMax = 128 * 1024
  /// m-lines. Each costs a transceiver; a camera has three, conferences some dozens.
  public static let mediaSectionsMax = 64
  /// Attributes of one section. Chromium's video section has 190.
  public static let attributesPerSectionMax = 4_096
}
