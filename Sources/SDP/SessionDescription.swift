// SPDX-License-Identifier: Apache-2.0

/// A session description: what one side offers or answers (RFC 8866, as RFC 9429 uses it).
///
/// Reading takes LF as well as CRLF; writing gives CRLF. What was written reads back equal.
public struct SessionDescription: Hashable, Sendable {
  /// The `o=` line.
  public var origin: Origin
  /// The `s=` line.
  public var name: String
  /// The `i=` line.
  public var information: String?
  /// The `u=` line.
  public var uri: String?
  /// The `e=` lines.
  public var emailAddresses: [String] = []
  /// The `p=` lines.
  public var phoneNumbers: [String] = []
  /// The `c=` line.
  public var connection: ConnectionData?
  /// The `b=` lines.
  public var bandwidths: [Bandwidth] = []
  /// The `t=` lines; at least one.
  public var timings: [Timing]
  /// The `z=` line.
  public var timeZones: String?

  /// `a=group` (RFC 5888 §5).
  public var groups: [MediaGroup] = []
  /// ICE and DTLS attributes of sections without their own; Firefox writes its fingerprint here.
  public var transport = TransportAttributes()
  /// `a=ice-lite` (RFC 8839 §5.3).
  public var isICELite = false
  /// `a=end-of-candidates` for all sections (RFC 8840 §8.2).
  public var endOfCandidates = false
  /// `a=extmap-allow-mixed` (RFC 8285 §6).
  public var extmapAllowMixed = false
  /// The direction of sections without their own (RFC 8866 §6.7).
  public var direction: MediaDirection?
  /// `a=extmap` for all sections (RFC 8285 §5).
  public var extmaps: [HeaderExtensionMap] = []
  /// All other attributes of the session level, in their order.
  public var attributes: [Attribute] = []

  /// The media sections, in the order that both sides keep for ever.
  public var media: [MediaDescription] = []

  /// A description without media.
  public init(origin: Origin, name: String = "-", timings: [Timing] = [Timing()]) {
    self.origin = origin
    self.name = name
    self.timings = timings
  }
}

extension SessionDescription {
  /// The media identifiers of each BUNDLE group (RFC 9143 §5).
  public var bundleGroups: [[String]] {
    groups.filter { $0.semantics == "BUNDLE" }.map(\.mids)
  }

  /// The ICE and DTLS attributes that hold for a section: its own, else the session's.
  ///
  /// - Precondition: `index` is one of ``media``.
  public func transportAttributes(ofMedia index: Int) -> TransportAttributes {
    media[index].transport.completed(by: transport)
  }

  /// The direction that holds for a section.
  ///
  /// - Precondition: `index` is one of ``media``.
  public func direction(ofMedia index: Int) -> MediaDirection {
    media[index].declaredDirection ?? direction ?? .sendrecv
  }

  /// The header extensions that hold for a section: its own and the session's.
  ///
  /// - Precondition: `index` is one of ``media``.
  public func extmaps(ofMedia index: Int) -> [HeaderExtensionMap] {
    media[index].extmaps + extmaps
  }

  /// The place of the section with that media identifier.
  public func mediaIndex(mid: String) -> Int? { media.firstIndex { $0.mid == mid } }
}
