// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// A session description as the payload of a message: base64 of `{"type":"offer","sdp":"v=0..."}`.
public struct SDPPayload: Hashable, Sendable {
  /// `offer` or `answer`.
  public var type: String
  /// The session description.
  public var sdp: String

  /// Joins the parts.
  public init(type: String, sdp: String) {
    self.type = type
    self.sdp = sdp
  }

  /// The base64 text; `type` comes first because a client in the field insists.
  public var payload: String {
    SignalingPayload.base64(JSONText.object([("type", .string(type)), ("sdp", .string(sdp))]))
  }

  /// Reads the payload; a missing type counts as empty, for the message already says what it is.
  public init(parsing payload: String) throws(SignalingMessage.Failure) {
    let members = try SignalingPayload.decode(Members.self, from: payload)
    self.init(type: members.type ?? "", sdp: members.sdp)
  }

  private struct Members: Decodable {
    var type: String?
    var sdp: String
  }
}

/// A candidate as the payload of a message: base64 of a browser's `RTCIceCandidateInit`.
public struct ICECandidatePayload: Hashable, Sendable {
  /// `candidate:...`; empty at the end of candidates.
  public var candidate: String
  /// The media section by name.
  public var sdpMid: String?
  /// The media section by position.
  public var sdpMLineIndex: Int?
  /// The ICE session that it belongs to.
  public var usernameFragment: String?

  /// Joins the parts.
  public init(
    candidate: String, sdpMid: String? = nil, sdpMLineIndex: Int? = nil, usernameFragment: String? = nil
  ) {
    self.candidate = candidate
    self.sdpMid = sdpMid
    self.sdpMLineIndex = sdpMLineIndex
    self.usernameFragment = usernameFragment
  }

  /// The base64 text.
  public var payload: String {
    SignalingPayload.base64(
      JSONText.object([
        ("candidate", .string(candidate)), ("sdpMid", sdpMid.map { .string($0) }),
        ("sdpMLineIndex", sdpMLineIndex.map { .integer($0) }),
        ("usernameFragment", usernameFragment.map { .string($0) }),
      ]))
  }

  /// Reads the payload; nulls count as absent.
  public init(parsing payload: String) throws(SignalingMessage.Failure) {
    let members = try SignalingPayload.decode(Members.self, from: payload)
    self.init(
      candidate: members.candidate, sdpMid: members.sdpMid, sdpMLineIndex: members.sdpMLineIndex,
      usernameFragment: members.usernameFragment)
  }

  private struct Members: Decodable {
    var candidate: String
    var sdpMid: String?
    var sdpMLineIndex: Int?
    var usernameFragment: String?
  }
}

/// The two layers that both payloads share.
enum SignalingPayload {
  static func base64(_ text: String) -> String { Data(text.utf8).base64EncodedString() }

  static func decode<T: Decodable>(_ type: T.Type, from payload: String) throws(SignalingMessage.Failure) -> T
  {
    guard payload.utf8.count <= SignalingMessage.frameBytesMax else { throw .init(.payloadTooLong) }
    guard let json = Data(base64Encoded: payload), let value = try? JSONDecoder().decode(type, from: json)
    else {
      throw .init(.malformed)
    }
    return value
  }
}
