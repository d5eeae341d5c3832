// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The methods that TURN adds to STUN (RFC 8656 §17).
extension STUNMethod {
  /// Allocate: asks for a relayed address.
  public static let allocate = STUNMethod(rawValue: 3)
  /// Refresh: prolongs or ends an allocation.
  public static let refresh = STUNMethod(rawValue: 4)
  /// Send: an indication with data for a peer.
  public static let send = STUNMethod(rawValue: 6)
  /// Data: an indication with data from a peer.
  public static let data = STUNMethod(rawValue: 7)
  /// CreatePermission: lets a peer's address send to the relayed address.
  public static let createPermission = STUNMethod(rawValue: 8)
  /// ChannelBind: gives a peer a channel number.
  public static let channelBind = STUNMethod(rawValue: 9)
}

/// The attributes that TURN adds to STUN (RFC 8656 §18), and those of long-term credentials.
extension STUNAttributeType {
  /// CHANNEL-NUMBER, RFC 8656 §18.1.
  public static let channelNumber = STUNAttributeType(rawValue: 0x000c)
  /// LIFETIME, RFC 8656 §18.2, in seconds.
  public static let lifetime = STUNAttributeType(rawValue: 0x000d)
  /// XOR-PEER-ADDRESS, RFC 8656 §18.3.
  public static let xorPeerAddress = STUNAttributeType(rawValue: 0x0012)
  /// DATA, RFC 8656 §18.4.
  public static let data = STUNAttributeType(rawValue: 0x0013)
  /// REALM, RFC 8489 §14.9.
  public static let realm = STUNAttributeType(rawValue: 0x0014)
  /// NONCE, RFC 8489 §14.10.
  public static let nonce = STUNAttributeType(rawValue: 0x0015)
  /// XOR-RELAYED-ADDRESS, RFC 8656 §18.5.
  public static let xorRelayedAddress = STUNAttributeType(rawValue: 0x0016)
  /// REQUESTED-ADDRESS-FAMILY, RFC 8656 §18.6 (first in RFC 6156 §4.1.1).
  public static let requestedAddressFamily = STUNAttributeType(rawValue: 0x0017)
  /// EVEN-PORT, RFC 8656 §18.7: our server refuses it, since nothing that bundles RTP and RTCP needs it.
  public static let evenPort = STUNAttributeType(rawValue: 0x0018)
  /// REQUESTED-TRANSPORT, RFC 8656 §18.8.
  public static let requestedTransport = STUNAttributeType(rawValue: 0x0019)
  /// DONT-FRAGMENT, RFC 8656 §18.9: our server does not know it, which is how a server says that it cannot.
  public static let dontFragment = STUNAttributeType(rawValue: 0x001a)
  /// RESERVATION-TOKEN, RFC 8656 §18.10: our server reserves nothing, so that no token is valid.
  public static let reservationToken = STUNAttributeType(rawValue: 0x0022)
  /// ALTERNATE-SERVER, RFC 8489 §14.15.
  public static let alternateServer = STUNAttributeType(rawValue: 0x8023)
}

/// The error codes that TURN and long-term credentials add to STUN (RFC 8656 §19, RFC 8489 §9.2.4).
extension STUNErrorCode {
  /// Another server is to be asked (RFC 8489 §10).
  public static let tryAlternate = STUNErrorCode(rawValue: 300)
  /// The request is right, but policy does not allow it.
  public static let forbidden = STUNErrorCode(rawValue: 403)
  /// The request needs an allocation that is not there, or must not find one.
  public static let allocationMismatch = STUNErrorCode(rawValue: 437)
  /// The nonce is no longer valid; the response brings another.
  public static let staleNonce = STUNErrorCode(rawValue: 438)
  /// The server does not relay for this address family.
  public static let addressFamilyNotSupported = STUNErrorCode(rawValue: 440)
  /// The credentials are not those that made the allocation.
  public static let wrongCredentials = STUNErrorCode(rawValue: 441)
  /// The server does not relay over this transport protocol.
  public static let unsupportedTransport = STUNErrorCode(rawValue: 442)
  /// The peer's address has another family than the relayed one.
  public static let peerAddressFamilyMismatch = STUNErrorCode(rawValue: 443)
  /// The user has as many allocations as one may have.
  public static let allocationQuotaReached = STUNErrorCode(rawValue: 486)
  /// The server failed for the moment.
  public static let serverError = STUNErrorCode(rawValue: 500)
  /// The server has no room left.
  public static let insufficientCapacity = STUNErrorCode(rawValue: 508)

  /// The reason phrase of TURN's codes.
  var turnReasonPhrase: String {
    switch self {
    case .tryAlternate: "Try Alternate"
    case .forbidden: "Forbidden"
    case .allocationMismatch: "Allocation Mismatch"
    case .staleNonce: "Stale Nonce"
    case .addressFamilyNotSupported: "Address Family not Supported"
    case .wrongCredentials: "Wrong Credentials"
    case .unsupportedTransport: "Unsupported Transport Protocol"
    case .peerAddressFamilyMismatch: "Peer Address Family Mismatch"
    case .allocationQuotaReached: "Allocation Quota Reached"
    case .serverError: "Server Error"
    case .insufficientCapacity: "Insufficient Capacity"
    default: ""
    }
  }
}

/// What TURN's attributes say. All are `nil` where absent or malformed.
extension STUNMessage {
  /// CHANNEL-NUMBER: the number alone, whether a channel may have it or not.
  public var channelNumber: UInt16? {
    guard let value = value(of: .channelNumber), value.byteCount == 4 else { return nil }
    var reader = ByteReader(value)
    return try? reader.readUInt16()
  }

  /// LIFETIME in seconds.
  public var lifetimeSeconds: UInt32? {
    guard let value = value(of: .lifetime), value.byteCount == 4 else { return nil }
    var reader = ByteReader(value)
    return try? reader.readUInt32()
  }

  /// The first XOR-PEER-ADDRESS.
  public var xorPeerAddress: TransportAddress? { address(of: .xorPeerAddress) }

  /// XOR-RELAYED-ADDRESS.
  public var xorRelayedAddress: TransportAddress? { address(of: .xorRelayedAddress) }

  /// ALTERNATE-SERVER: an address in the clear (RFC 8489 §14.1, §14.15).
  public var alternateServer: TransportAddress? {
    guard let value = value(of: .alternateServer) else { return nil }
    return try? STUNXORAddress.parsePlain(value)
  }

  /// All of XOR-PEER-ADDRESS in order; `nil` where one is malformed or there are more than `limit`.
  func xorPeerAddresses(limit: Int) -> [TransportAddress]? {
    var result: [TransportAddress] = []
    while let value = value(of: .xorPeerAddress, occurrence: result.count) {
      guard result.count < limit, let address = try? STUNXORAddress.parse(value, transactionID: transactionID)
      else { return nil }
      result.append(address)
    }
    return result
  }

  /// The protocol number of REQUESTED-TRANSPORT; UDP is 17.
  public var requestedTransport: UInt8? {
    guard let value = value(of: .requestedTransport), value.byteCount == 4 else { return nil }
    return value.byte(at: 0)
  }

  /// The family's number of REQUESTED-ADDRESS-FAMILY: 1 for IPv4, 2 for IPv6.
  public var requestedAddressFamily: UInt8? {
    guard let value = value(of: .requestedAddressFamily), value.byteCount == 4 else { return nil }
    return value.byte(at: 0)
  }

  /// REALM as text, where it is UTF-8 of no more than ``TURNLimits/realmByteCountMax`` bytes.
  public var realm: String? { text(of: .realm, byteCountMax: TURNLimits.realmByteCountMax) }

  /// NONCE, where it has no more than ``TURNLimits/nonceByteCountMax`` bytes.
  public var nonce: [UInt8]? {
    guard let value = value(of: .nonce), value.byteCount <= TURNLimits.nonceByteCountMax else { return nil }
    return [UInt8](copying: value)
  }

  /// USERNAME as text, where it is UTF-8 of no more than ``TURNLimits/usernameByteCountMax`` bytes.
  var usernameText: String? { text(of: .username, byteCountMax: TURNLimits.usernameByteCountMax) }

  private func address(of type: STUNAttributeType) -> TransportAddress? {
    guard let value = value(of: type) else { return nil }
    return try? STUNXORAddress.parse(value, transactionID: transactionID)
  }

  private func text(of type: STUNAttributeType, byteCountMax: Int) -> String? {
    guard let value = value(of: type), value.byteCount <= byteCountMax else { return nil }
    return String(validating: [UInt8](copying: value), as: UTF8.self)
  }
}

extension IPAddress.Family {
  /// The number of the family in STUN's attributes.
  var stunNumber: UInt8 { self == .ipv4 ? 1 : 2 }

  /// The family of a number in an attribute.
  init?(stunNumber: UInt8) {
    switch stunNumber {
    case 1: self = .ipv4
    case 2: self = .ipv6
    default: return nil
    }
  }
}

extension STUNMessageBuilder {
  /// Appends an attribute of one byte that is padded with three that are reserved.
  mutating func append(_ type: STUNAttributeType, number: UInt8) { append(type, [number, 0, 0, 0]) }

  /// Appends CHANNEL-NUMBER.
  mutating func append(channel: ChannelNumber) {
    append(.channelNumber, [UInt8](writing: 4) { $0.write(UInt32(channel.rawValue) << 16) })
  }
}

/// Writes the indications that carry data (RFC 8656 §11), straight into lent memory.
///
/// A Send or Data indication is header, XOR-PEER-ADDRESS, DATA; nothing protects it and nothing answers it.
enum TURNIndication {
  /// Bytes of an indication around its payload.
  static func byteCount(payloadByteCount: Int, family: IPAddress.Family) -> Int {
    STUNMessage.headerByteCount + attributesByteCount(payloadByteCount: payloadByteCount, family: family)
  }

  private static func attributesByteCount(payloadByteCount: Int, family: IPAddress.Family) -> Int {
    4 + (family == .ipv4 ? 8 : 20) + 4 + (payloadByteCount + 3) & ~3
  }

  /// Writes an indication; the caller has made sure of the room and that the payload is below 64 KiB.
  @_lifetime(output: copy output)
  static func write(
    _ method: STUNMethod, transactionID: STUNTransactionID, peer: TransportAddress, payload: RawSpan,
    into output: inout OutputRawSpan
  ) {
    let family = peer.ip.family
    let length = attributesByteCount(payloadByteCount: payload.byteCount, family: family)
    output.write(method.rawValue | 0x0010)
    output.write(UInt16(length))
    output.write(STUNMessage.magicCookie)
    output.write(transactionID.prefix)
    output.write(transactionID.suffix)
    output.write(STUNAttributeType.xorPeerAddress.rawValue)
    output.write((family == .ipv4 ? 8 : 20) as UInt16)
    STUNXORAddress.write(peer, transactionID: transactionID, into: &output)
    output.write(STUNAttributeType.data.rawValue)
    output.write(UInt16(payload.byteCount))
    output.write(payload)
    output.writeZeros((4 - payload.byteCount & 3) & 3)
  }
}
