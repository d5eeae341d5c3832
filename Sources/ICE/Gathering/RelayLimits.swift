// SPDX-License-Identifier: Apache-2.0

import SansIO

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

  /// Addresses of a name that are tried: a name with more is served by any of them.
  static let addressesPerNameMax = 8
  /// How old the addresses of a name may be when nothing at them works: a minute, what names of fleets live.
  static let nameLifetime = TimeDelta.seconds(60)
  /// Shared sockets whose addresses are asked for: an address of each family on eight interfaces, twice.
  static let socketsMax = 32
  /// Servers that one socket asks: they all say the same unless the NAT is one that no mapped address helps with.
  static let probesPerSocketMax = 8
  /// Bindings that may begin ``probeIntervalFirst`` apart before Ta applies, as an agent's first checks do.
  static let probesFirstCount = 10
  /// The time between the first Bindings: 5 ms, the least of RFC 8445 §14.2.
  static let probeIntervalFirst = TimeDelta.milliseconds(5)
  /// Ta, the time between two Bindings after that: 50 ms (RFC 8445 §14.2).
  static let probeInterval = TimeDelta.milliseconds(50)
  /// The first time-out of a Binding, RFC 8489 §6.2.1.
  static let probeTimeout = TimeDelta.milliseconds(500)
  /// The least time until a server that did not answer a Binding is asked again: 30 s.
  static let probeRetryMin = TimeDelta.seconds(30)
  /// The longest such time: 5 minutes, so that a server that is gone costs next to nothing.
  static let probeRetryMax = TimeDelta.seconds(300)

  /// Owners, and so relays of a family: somewhat more than the viewers that a core of the machine carries.
  static let ownersMax = 1024
  /// Connections to servers: the relays, and the tries that are under way.
  static let connectionsMax = 1280
  /// Ways that are tried side by side for one relay: each URL with one and a half addresses.
  static let waysMax = 64
  /// Rounds without a lasting relay until only other servers, credentials or sockets make another worth while:
  /// about seven minutes.
  static let roundsMax = 10
  /// How long a relay has to stand so that what failed before is forgotten: a minute.
  static let lastingTime = TimeDelta.seconds(60)
  /// How long a server that has no room, or that gave us all we may have, is left alone: a minute (RFC 8656 §7.4).
  static let quotaPause = TimeDelta.seconds(60)
  /// How long a way that is not the best is taken without looking for a better one: ten minutes.
  static let provenWayLifetime = TimeDelta.seconds(600)

  /// The longest datagram that is held until its peer has a permission: what an Ethernet carries.
  static let heldDatagramByteCountMax = 1500
  /// Datagrams that are held for one peer: a check and its repetitions, or a flight of DTLS.
  static let heldDatagramsPerPeerMax = 4
  /// Bytes that are held for one peer: four full datagrams.
  static let heldByteCountPerPeerMax = 6144
  /// Bytes that are held for all peers of a relay.
  static let heldByteCountMax = 65_536
  /// How long a datagram is worth being held: 5 s, then whoever sent it has sent another.
  static let heldTimeMax = TimeDelta.seconds(5)
  /// How long an address that a server refused is not asked for again: 300 s, the life of a permission.
  static let refusalTime = TimeDelta.seconds(300)

  /// Actions that wait for the shell, which takes them after every call: an open and a close of each connection.
  static let actionsMax = 2 * connectionsMax + serversMax * urlsPerServerMax
  /// Events that wait for the shell; the oldest give way.
  static let eventsMax = 4 * ownersMax
}

/// Why a gatherer did not do what it was asked for, or did not act on what arrived.
public enum GathererDropCause: Int, CaseIterable, Sendable {
  /// A datagram on a shared socket that is no STUN response, or a response without what makes it one.
  case malformed
  /// A response to no request of ours, too late, or not from where the request went.
  case unknownTransaction
  /// A frame of a connection that there is not, or no more.
  case unknownConnection
  /// A datagram for a relay that there is not, or no more.
  case unknownRelay
  /// A datagram for an address that a relay cannot send to.
  case unsendablePeer
  /// A datagram for a peer that the server does not relay to.
  case refusedPeer
  /// A datagram for a peer beyond those that one relay may have.
  case tooManyPeers
  /// A datagram that found no room among those that are held.
  case heldOverflow
  /// A datagram whose permission came too late.
  case heldTooLong
  /// A datagram that does not fit into lent memory, or is too long to be held.
  case oversized
  /// Data that came over a relay without owner.
  case unownedData
  /// A socket or an owner beyond the limit.
  case tableFull
}
