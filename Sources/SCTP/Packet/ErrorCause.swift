// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// Why a peer, or we, gave up or complained: the cause code of an ABORT or ERROR (RFC 9260 §3.3.10).
public struct ErrorCause: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
  /// The code on the wire.
  public let rawValue: UInt16
  /// Wraps a code.
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  /// A stream that does not exist was written to.
  public static let invalidStream = ErrorCause(rawValue: 1)
  /// An INIT without something that it needs.
  public static let missingParameter = ErrorCause(rawValue: 2)
  /// A cookie came after its time.
  public static let staleCookie = ErrorCause(rawValue: 3)
  /// Memory that the peer wants is beyond what we give.
  public static let outOfResource = ErrorCause(rawValue: 4)
  /// A chunk type that the receiver does not know.
  public static let unrecognizedChunk = ErrorCause(rawValue: 6)
  /// A parameter whose value is not allowed.
  public static let invalidParameter = ErrorCause(rawValue: 7)
  /// Parameters of an INIT ACK that the receiver does not know.
  public static let unrecognizedParameters = ErrorCause(rawValue: 8)
  /// DATA without payload.
  public static let noUserData = ErrorCause(rawValue: 9)
  /// A cookie came while the association was shutting down.
  public static let cookieWhileShuttingDown = ErrorCause(rawValue: 10)
  /// The user of the association ended it.
  public static let userInitiated = ErrorCause(rawValue: 12)
  /// Something that the protocol forbids.
  public static let protocolViolation = ErrorCause(rawValue: 13)

  /// The code, with a name where it has one.
  public var description: String {
    switch self {
    case .invalidStream: "invalid stream"
    case .missingParameter: "missing parameter"
    case .staleCookie: "stale cookie"
    case .outOfResource: "out of resource"
    case .unrecognizedChunk: "unrecognized chunk"
    case .invalidParameter: "invalid parameter"
    case .unrecognizedParameters: "unrecognized parameters"
    case .noUserData: "no user data"
    case .cookieWhileShuttingDown: "cookie while shutting down"
    case .userInitiated: "user initiated"
    case .protocolViolation: "protocol violation"
    default: "cause \(rawValue)"
    }
  }

  /// The cause as it stands in a chunk: code, length, information, padding.
  func array(information: [UInt8] = []) -> [UInt8] {
    Parameter.array(ParameterType(rawValue: rawValue), value: information)
  }

  /// The first cause in an ABORT's or ERROR's value; `nil` where there is none.
  static func first(in value: RawSpan) -> ErrorCause? {
    var reader = ByteReader(value)
    guard !reader.isAtEnd, let parameter = try? Parameter(parsing: &reader) else { return nil }
    return ErrorCause(rawValue: parameter.type.rawValue)
  }
}
