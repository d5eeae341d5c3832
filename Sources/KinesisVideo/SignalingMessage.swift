// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// The text frames of the service's WebSocket, in both directions, and their limits.
///
/// Reading is tolerant: names of members match in any case (the C client writes `MessagePayload`, the JavaScript one
/// `messagePayload`), unknown members are skipped. Writing is strict camelCase.
public enum SignalingMessage {
  /// Largest frame, in bytes of UTF-8: several times what the service sends.
  public static let frameBytesMax = 65_536
  /// Longest payload, in characters of base64: the service's "10k".
  public static let payloadCharactersMax = 10_240
  /// Longest client or correlation identifier.
  public static let identifierCharactersMax = 256

  /// What a message carries.
  public enum Kind: String, CaseIterable, Hashable, Sendable {
    /// A session description that opens a session.
    case offer = "SDP_OFFER"
    /// A session description that accepts one.
    case answer = "SDP_ANSWER"
    /// A way to reach a peer.
    case iceCandidate = "ICE_CANDIDATE"

    /// Whether the message is a session description; the service limits these and candidates apart.
    public var isDescription: Bool { self != .iceCandidate }
  }

  /// Why a frame is refused.
  public enum Defect: String, Hashable, Sendable {
    /// The frame is larger than `frameBytesMax`.
    case frameTooLong
    /// The frame is no JSON object, or a member has the wrong type.
    case malformed
    /// The action is unknown or missing.
    case unknownAction
    /// The payload is longer than `payloadCharactersMax`.
    case payloadTooLong
    /// The payload is missing or empty.
    case payloadMissing
    /// An identifier holds characters other than `A-Z a-z 0-9 _ . -`, or too many.
    case invalidIdentifier
  }

  /// A refused frame.
  public struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
    /// Why.
    public var defect: Defect
    /// The frame's correlation identifier if it could be read: its sender wants to hear of the failure.
    public var correlationID: String?

    /// Joins the parts.
    public init(_ defect: Defect, correlationID: String? = nil) {
      self.defect = defect
      self.correlationID = correlationID
    }

    /// One sentence.
    public var description: String {
      switch defect {
      case .frameTooLong: "The message is larger than \(SignalingMessage.frameBytesMax) bytes."
      case .malformed: "The message is not a JSON object of the expected members."
      case .unknownAction: "The action is not one of SDP_OFFER, SDP_ANSWER and ICE_CANDIDATE."
      case .payloadTooLong:
        "The payload is longer than \(SignalingMessage.payloadCharactersMax) characters of base64."
      case .payloadMissing: "The message has no payload."
      case .invalidIdentifier: "An identifier is not 1 to 256 characters of A-Z, a-z, 0-9, '_', '.' and '-'."
      }
    }
  }

  /// Whether the text is 1 to 256 characters of `A-Z a-z 0-9 _ . -`, as the service's identifiers of clients are.
  public static func isIdentifier(_ text: String) -> Bool {
    (1...identifierCharactersMax).contains(text.utf8.count)
      && text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"):
          true
        default: false
        }
      }
  }

  /// Whether a viewer may use the identifier: the service keeps those beginning with `AWS_` for itself.
  public static func isViewerIdentifier(_ text: String) -> Bool {
    isIdentifier(text) && !text.lowercased().hasPrefix("aws_")
  }

  fileprivate static func container<T: Decodable>(_ type: T.Type, from frame: [UInt8]) throws(Failure) -> T {
    guard frame.count <= frameBytesMax else { throw Failure(.frameTooLong) }
    guard let value = try? JSONDecoder().decode(type, from: Data(frame)) else { throw Failure(.malformed) }
    return value
  }
}

// MARK: Client to service

extension SignalingMessage {
  /// What a client sends.
  public struct ClientFrame: Hashable, Sendable {
    /// What it is.
    public var kind: Kind
    /// Who shall get it; the service ignores what a viewer writes here.
    public var recipientClientID: String?
    /// The content, base64 of JSON.
    public var payload: String
    /// Asks for a status response if the message fails.
    public var correlationID: String?

    /// Joins the parts.
    public init(kind: Kind, recipientClientID: String?, payload: String, correlationID: String?) {
      self.kind = kind
      self.recipientClientID = recipientClientID
      self.payload = payload
      self.correlationID = correlationID
    }

    /// The text of the frame.
    public var text: String {
      JSONText.object([
        ("action", .string(kind.rawValue)),
        ("recipientClientId", recipientClientID.map { .string($0) }),
        ("messagePayload", .string(payload)),
        ("correlationId", correlationID.map { .string($0) }),
      ])
    }

    /// Reads a frame as the service does.
    ///
    /// - Throws: Why the frame is refused, with its correlation identifier where it has a valid one.
    public init(parsing frame: [UInt8]) throws(Failure) {
      let members = try SignalingMessage.container(Members.self, from: frame)
      let correlationID = members.text["correlationid"].flatMap { $0.isEmpty ? nil : $0 }
      if let correlationID, !SignalingMessage.isIdentifier(correlationID) {
        throw Failure(.invalidIdentifier)
      }
      guard !members.hasWrongType else { throw Failure(.malformed, correlationID: correlationID) }
      guard let kind = members.text["action"].flatMap(Kind.init) else {
        throw Failure(.unknownAction, correlationID: correlationID)
      }
      guard let payload = members.text["messagepayload"], !payload.isEmpty else {
        throw Failure(.payloadMissing, correlationID: correlationID)
      }
      guard payload.utf8.count <= SignalingMessage.payloadCharactersMax else {
        throw Failure(.payloadTooLong, correlationID: correlationID)
      }
      let recipient = members.text["recipientclientid"].flatMap { $0.isEmpty ? nil : $0 }
      if let recipient, !SignalingMessage.isIdentifier(recipient) {
        throw Failure(.invalidIdentifier, correlationID: correlationID)
      }
      self.init(kind: kind, recipientClientID: recipient, payload: payload, correlationID: correlationID)
    }

    private struct Members: Decodable {
      static let names = ["action", "recipientclientid", "messagepayload", "correlationid"]
      var text: [String: String] = [:]
      var hasWrongType = false

      init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: AnyCodingKey.self)
        let keys = container.keysIgnoringCase()
        for name in Self.names {
          guard let key = keys[name], try !container.decodeNil(forKey: key) else { continue }
          if let value = try? container.decode(String.self, forKey: key) {
            text[name] = value
          } else {
            hasWrongType = true
          }
        }
      }
    }
  }
}

// MARK: Service to client

extension SignalingMessage {
  /// The service's word on a message that failed.
  public struct StatusResponse: Hashable, Sendable {
    /// Which message, if it had an identifier.
    public var correlationID: String?
    /// The name of the error, such as `InvalidArgumentException`.
    public var errorType: String
    /// The HTTP status that the error would have; text on the wire.
    public var statusCode: String
    /// The service's sentence.
    public var description: String

    /// Joins the parts.
    public init(correlationID: String?, errorType: String, statusCode: String, description: String) {
      self.correlationID = correlationID
      self.errorType = errorType
      self.statusCode = statusCode
      self.description = description
    }

    /// Whether the message was dropped because too many were sent.
    public var isLimitExceeded: Bool { errorType == "ClientLimitExceededException" }
  }

  /// What the service sends.
  public enum ServiceFrame: Hashable, Sendable {
    /// A peer's message; `payload` is base64 of JSON, the sender is absent at a viewer and from a storage session.
    case message(kind: Kind, payload: String, senderClientID: String?)
    /// The connection will be closed within a minute: reconnect.
    case goAway
    /// The relays will change: get the list of them again.
    case reconnectICEServer
    /// A message of ours failed.
    case statusResponse(StatusResponse)
    /// A type that this version does not know, escaped for logs.
    case unknown(String)

    /// The text of the frame, members in the order that the service uses.
    public var text: String {
      switch self {
      case .message(let kind, let payload, let sender):
        JSONText.object([
          ("messagePayload", .string(payload)), ("messageType", .string(kind.rawValue)),
          ("senderClientId", sender.map { .string($0) }),
        ])
      case .goAway: JSONText.object([("messageType", .string("GO_AWAY"))])
      case .reconnectICEServer: JSONText.object([("messageType", .string("RECONNECT_ICE_SERVER"))])
      case .statusResponse(let status):
        JSONText.object([
          ("messageType", .string("STATUS_RESPONSE")),
          (
            "statusResponse",
            .object([
              ("correlationId", .string(status.correlationID ?? "")),
              ("errorType", .string(status.errorType)), ("statusCode", .string(status.statusCode)),
              ("description", .string(status.description)), ("success", .bool(false)),
            ])
          ),
        ])
      case .unknown(let type): JSONText.object([("messageType", .string(type))])
      }
    }

    /// Reads a frame as a client does.
    ///
    /// A sender's identifier with any character outside of `A-Z a-z 0-9 _ . -` is refused: it names a session.
    public init(parsing frame: [UInt8]) throws(Failure) {
      let members = try SignalingMessage.container(Members.self, from: frame)
      guard let type = members.messageType else { throw Failure(.malformed) }
      switch type {
      case "GO_AWAY": self = .goAway
      case "RECONNECT_ICE_SERVER": self = .reconnectICEServer
      case "STATUS_RESPONSE":
        guard let status = members.statusResponse else { throw Failure(.malformed) }
        self = .statusResponse(status)
      default:
        guard let kind = Kind(rawValue: type) else {
          self = .unknown(LogText.escaped(type, charactersMax: 64))
          return
        }
        guard !members.hasWrongType else { throw Failure(.malformed) }
        guard let payload = members.messagePayload, !payload.isEmpty else { throw Failure(.payloadMissing) }
        let sender = members.senderClientID.flatMap { $0.isEmpty ? nil : $0 }
        if let sender, !SignalingMessage.isIdentifier(sender) { throw Failure(.invalidIdentifier) }
        self = .message(kind: kind, payload: payload, senderClientID: sender)
      }
    }

    private struct Members: Decodable {
      var messageType: String?
      var messagePayload: String?
      var senderClientID: String?
      var statusResponse: StatusResponse?
      var hasWrongType = false

      init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: AnyCodingKey.self)
        let keys = container.keysIgnoringCase()
        var wrongTypes = 0
        func text(_ name: String) -> String? {
          guard let key = keys[name], (try? container.decodeNil(forKey: key)) != true else { return nil }
          if let value = try? container.decode(String.self, forKey: key) { return value }
          wrongTypes += 1
          return nil
        }
        messageType = text("messagetype")
        messagePayload = text("messagepayload")
        senderClientID = text("senderclientid")
        hasWrongType = wrongTypes > 0
        guard let key = keys["statusresponse"],
          let inner = try? container.nestedContainer(keyedBy: AnyCodingKey.self, forKey: key)
        else { return }
        statusResponse = StatusResponse(members: inner)
      }
    }
  }
}

extension SignalingMessage.StatusResponse {
  /// Reads what is there: a status that is a number counts as its text, whatever is missing as empty.
  fileprivate init(members: KeyedDecodingContainer<AnyCodingKey>) {
    let keys = members.keysIgnoringCase()
    func text(_ name: String, charactersMax: Int) -> String? {
      guard let key = keys[name] else { return nil }
      let value =
        (try? members.decode(String.self, forKey: key))
        ?? (try? members.decode(Int.self, forKey: key)).map { String($0) }
      return value.map { LogText.escaped($0, charactersMax: charactersMax) }
    }
    self.init(
      correlationID: text("correlationid", charactersMax: SignalingMessage.identifierCharactersMax)
        .flatMap { $0.isEmpty ? nil : $0 },
      errorType: text("errortype", charactersMax: 128) ?? "",
      statusCode: text("statuscode", charactersMax: 16) ?? "",
      description: text("description", charactersMax: KinesisVideoError.messageCharactersMax) ?? "")
  }
}
