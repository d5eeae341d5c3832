// SPDX-License-Identifier: Apache-2.0

/// Who made a session description, and which version it is: the `o=` line (RFC 8866 §5.2, RFC 9429 §5.2.1).
public struct Origin: Hashable, Sendable {
  /// A login name; `-` for none.
  public var username: String
  /// The same in all descriptions of one peer connection.
  public var sessionID: UInt64
  /// Grows by one with each description that differs from the one before.
  public var sessionVersion: UInt64
  /// `IN`.
  public var networkType: String
  /// `IP4` or `IP6`.
  public var addressType: String
  /// An address that means nothing; JSEP says 127.0.0.1 for privacy.
  public var address: String

  /// An origin as JSEP writes it.
  public init(
    username: String = "-", sessionID: UInt64, sessionVersion: UInt64, networkType: String = "IN",
    addressType: String = "IP4", address: String = "127.0.0.1"
  ) {
    self.username = username
    self.sessionID = sessionID
    self.sessionVersion = sessionVersion
    self.networkType = networkType
    self.addressType = addressType
    self.address = address
  }
}

/// A connection address: the `c=` line (RFC 8866 §5.7). WebRTC takes no notice of it.
public struct ConnectionData: Hashable, Sendable {
  /// `IN`.
  public var networkType: String
  /// `IP4` or `IP6`.
  public var addressType: String
  /// The address, with TTL and count where given.
  public var address: String

  /// `IN IP4 0.0.0.0`, which says that candidates come by ICE (RFC 8839 §4.3.1).
  public init(networkType: String = "IN", addressType: String = "IP4", address: String = "0.0.0.0") {
    self.networkType = networkType
    self.addressType = addressType
    self.address = address
  }
}

/// A bandwidth: the `b=` line (RFC 8866 §5.8).
public struct Bandwidth: Hashable, Sendable {
  /// `AS` (kilobit/s), `TIAS` (bit/s) or another.
  public var type: String
  /// The value, in the unit of the type.
  public var value: UInt64

  /// Makes a bandwidth.
  public init(type: String, value: UInt64) {
    self.type = type
    self.value = value
  }
}

/// When a session takes place: the `t=` line and its `r=` lines (RFC 8866 §5.9, §5.10); 0 and 0 in WebRTC.
public struct Timing: Hashable, Sendable {
  /// NTP seconds; 0: always.
  public var start: UInt64
  /// NTP seconds; 0: unbounded.
  public var stop: UInt64
  /// Values of the `r=` lines, as they are.
  public var repeats: [String]

  /// Makes a timing; by default a permanent session.
  public init(start: UInt64 = 0, stop: UInt64 = 0, repeats: [String] = []) {
    self.start = start
    self.stop = stop
    self.repeats = repeats
  }
}

/// An `a=` line without a typed field of its own (RFC 8866 §5.13), kept as it came.
public struct Attribute: Hashable, Sendable {
  /// What stands before the first colon.
  public var name: String
  /// What stands behind it; `nil` for a property attribute, which has no colon.
  public var value: String?

  /// Makes an attribute.
  public init(name: String, value: String? = nil) {
    self.name = name
    self.value = value
  }
}

/// A grouping of media sections: `a=group` (RFC 5888 §5, BUNDLE: RFC 9143).
public struct MediaGroup: Hashable, Sendable {
  /// `BUNDLE`, `LS`, ...
  public var semantics: String
  /// Media identifiers; may be empty.
  public var mids: [String]

  /// Makes a group.
  public init(semantics: String, mids: [String]) {
    self.semantics = semantics
    self.mids = mids
  }
}
