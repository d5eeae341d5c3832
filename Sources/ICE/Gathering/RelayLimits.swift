// SPDX-License-Identifier: Apache-2.0

/// What bounds a gatherer's memory, and what a server or a configuration can make it do.
public enum RelayLimits {
  /// Entries of a configuration that are used: 5, what the service's own clients take.
  public static let serversMax = 5
  /// URLs of an entry that are used: two protocols, protected or not, and two families.
  public static let urlsPerServerMax = 8
  /// The most spares that may be kept: each is an allocation that counts against the user's quota.
  public static let relaySpareCountMax = 4
  /// The longest message that ``CandidateGatherer/pollTransmit(into:at:)`` writes: a held datagram within an
  /// indication.
  public static let messageByteCountMax = heldDatagramByteCountMax + TURNLimits.overheadByteCountMax
  /// The longest datagram that is held until its peer has a permission: what an Ethernet carries.
  static let heldDatagramByteCountMax = 1500
}
