// SPDX-License-Identifier: Apache-2.0

/// What bounds the memory of TURN's client and server, and what the other side can make them send.
public enum TURNLimits {
  /// The longest USERNAME, RFC 8489 §14.3.
  public static let usernameByteCountMax = 508
  /// The longest REALM that we use. RFC 8489 §14.9 allows 763 bytes, servers have names of hosts.
  public static let realmByteCountMax = 256
  /// The longest NONCE that we use. RFC 8489 §14.10 allows 763 bytes, servers send 16 to 48.
  public static let nonceByteCountMax = 256
  /// The longest request or response: the three above, what else a message holds, and a message below the least
  /// MTU of IPv6.
  public static let messageByteCountMax = 1200
  /// What a stream may have in wait: the longest frame, and as much again as one read of a socket.
  public static let streamByteCountMax = 131_072
  /// The longest payload: with an indication around it still one datagram.
  public static let payloadByteCountMax = 65_507 - overheadByteCountMax
  /// What lent memory has to have beyond the payload: header, an IPv6 address, two attribute headers, padding.
  public static let overheadByteCountMax = 20 + 24 + 4 + 3

  /// Peers of a client's allocation: as many as an ICE agent has pairs.
  static let peersMax = 100
  /// Requests of a client that wait for their response: one for the allocation, two for each peer.
  static let transactionsMax = 201
  /// Requests until a client gives up: Rc of RFC 8489 §6.2.1.
  static let requestsMax = 7
  /// How many initial time-outs the last request is waited for: Rm of RFC 8489 §6.2.1.
  static let lastRequestTimeoutMultiplier: Int64 = 16
  /// How often in a row a request is sent again with another nonce.
  static let staleNonceRetriesMax = 3
  /// Events that wait for their driver to take them; the oldest give way.
  static let eventsMax = 256

  /// Error answers a second to one source address, whatever its port.
  static let errorAnswersPerSecondMax = 10
  /// Counters of error answers. Sources share them by a keyed hash, so that forged sources cost no memory.
  static let answerCountersCount = 4096
  /// Answers of a server that wait for their driver to take them.
  static let outgoingMessagesMax = 256
  /// Actions of a server that wait for their driver to take them: each datagram makes at most two.
  static let actionsMax = 1024
}
