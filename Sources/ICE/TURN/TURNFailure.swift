// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Why a TURN server did not do what it was asked for.
public enum TURNFailure: Error, Hashable, Sendable {
  /// 401 to a request with credentials: they are wrong or their time is over.
  case unauthenticated
  /// 403: policy forbids it; for a peer, its address is one that the server does not relay to.
  case forbidden
  /// 437: the allocation is not there any more, or an older one still is.
  case allocationMismatch
  /// 438 over and over: the server's nonces do not live as long as a round trip takes.
  case staleNonce
  /// 440 or 443: the server does not relay for this address family.
  case addressFamilyNotSupported
  /// 441: the allocation belongs to other credentials.
  case wrongCredentials
  /// 442: the server does not relay over UDP.
  case unsupportedTransport
  /// 486: the user has as many allocations as one may have.
  case quotaReached
  /// 508: the server has no room left.
  case insufficientCapacity
  /// 300: another server, at this address, is to be asked instead (RFC 8489 §10).
  case alternateServer(TransportAddress)
  /// Any other error of the server.
  case rejected(STUNErrorCode)
  /// A success without what makes it one: an address of the family that was asked for, a realm and a nonce.
  case malformedResponse
  /// No answer.
  case timedOut
  /// The connection to the server is gone.
  case connectionLost

  /// What an error code means to a client that sent its credentials.
  init(_ code: STUNErrorCode) {
    switch code {
    case .unauthenticated: self = .unauthenticated
    case .forbidden: self = .forbidden
    case .allocationMismatch: self = .allocationMismatch
    case .staleNonce: self = .staleNonce
    case .addressFamilyNotSupported, .peerAddressFamilyMismatch: self = .addressFamilyNotSupported
    case .wrongCredentials: self = .wrongCredentials
    case .unsupportedTransport: self = .unsupportedTransport
    case .allocationQuotaReached: self = .quotaReached
    case .insufficientCapacity: self = .insufficientCapacity
    default: self = .rejected(code)
    }
  }

  /// Whether the allocation as a whole has no future once a request on it failed like this.
  var endsAllocation: Bool {
    switch self {
    case .unauthenticated, .allocationMismatch, .staleNonce, .wrongCredentials: true
    default: false
    }
  }
}

/// Why a client did not act on something that came from its server's address.
public enum TURNDropCause: Int, CaseIterable, Sendable {
  /// A datagram from another address than the server's.
  case unknownRoute
  /// Neither STUN nor ChannelData.
  case malformed
  /// STUN that a TURN client has no use for.
  case unknownMethod
  /// A response to no request of ours, or too late.
  case unknownTransaction
  /// A success without a right MESSAGE-INTEGRITY, or an error with a wrong one.
  case unauthenticatedResponse
  /// ChannelData of a channel that is not bound.
  case unknownChannel
  /// Data from a peer that has no permission.
  case unknownPeer
  /// A datagram while there is no allocation.
  case inactive
  /// A payload that could not be sent: too long, no permission yet, or lent memory too small.
  case unsendable
}
