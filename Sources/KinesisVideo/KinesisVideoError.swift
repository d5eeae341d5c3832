// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// What went wrong with a call to the service, or with the connection to it, in a form for programs and for people.
public struct KinesisVideoError: Error, Hashable, Sendable {
  /// The service's name of the error, such as `ResourceNotFoundException`; for failures on our side of the wire one of
  /// the names below.
  public var errorType: String
  /// The service's sentence, at most `messageCharactersMax` characters, control characters escaped.
  public var message: String
  /// The status of the HTTP answer; 0 when there was none.
  public var statusCode: Int
  /// The service's identifier of the request, for its support.
  public var requestID: String?
  /// The service's clock, if the answer said: a wrong clock on our side is a frequent cause.
  public var serverTime: UnixTime?

  /// Longest message that is kept of an answer: the service's own are below 1 KB.
  public static let messageCharactersMax = 1024

  /// No answer: the name was not resolved, the connection was refused or broke, or time ran out.
  public static let connectionFailure = "ConnectionFailure"
  /// The server's certificate did not pass.
  public static let untrustedServer = "UntrustedServer"
  /// An answer that does not follow the service's contract.
  public static let unexpectedResponse = "UnexpectedResponse"
  /// A setting that cannot work, found before anything was sent.
  public static let invalidConfiguration = "InvalidConfiguration"

  /// Joins the parts; the message is shortened and made safe for logs.
  public init(
    errorType: String, message: String, statusCode: Int, requestID: String? = nil, serverTime: UnixTime? = nil
  ) {
    self.errorType = LogText.escaped(errorType, charactersMax: 128)
    self.message = LogText.escaped(message, charactersMax: Self.messageCharactersMax)
    self.statusCode = statusCode
    self.requestID = requestID.map { LogText.escaped($0, charactersMax: 128) }
    self.serverTime = serverTime
  }
}

extension KinesisVideoError {
  /// What a caller does about an error.
  public enum Kind: Hashable, Sendable {
    /// The channel does not exist.
    case unknownChannel
    /// The keys are wrong, ended, or may not do this.
    case credentials
    /// The signature's time is too far from the service's clock.
    case clockSkew
    /// Too many requests; later it may work.
    case throttled
    /// The service has a problem (5xx).
    case service
    /// There was no answer.
    case network
    /// The request itself is wrong; it will not work later either.
    case request
  }

  /// The class of the error, from its name first and its status second.
  public var kind: Kind {
    let skewed = message.contains("Signature expired") || message.contains("Signature not yet current")
    switch errorType {
    case "ResourceNotFoundException": return .unknownChannel
    case "ClientLimitExceededException", "ThrottlingException", "TooManyRequestsException",
      "LimitExceededException":
      return .throttled
    case _ where skewed: return .clockSkew
    case "InvalidSignatureException", "UnrecognizedClientException", "AccessDeniedException",
      "NotAuthorizedException", "ExpiredTokenException", "MissingAuthenticationTokenException",
      "InvalidClientTokenId", "SignatureDoesNotMatch", "SessionExpiredException":
      return .credentials
    case Self.connectionFailure: return .network
    case Self.untrustedServer, Self.invalidConfiguration: return .request
    default: break
    }
    switch statusCode {
    case 401, 403: return .credentials
    case 404: return .unknownChannel
    case 429: return .throttled
    case 500...: return .service
    default: return .request
    }
  }

  /// Whether the same request may work later: throttling, the service's problems and a network that failed.
  public var isRetriable: Bool {
    switch kind {
    case .throttled, .service, .network: true
    case .unknownChannel, .credentials, .clockSkew, .request: false
    }
  }

  /// What a person can do about it; `nil` when the message says all.
  public var hint: String? {
    switch (kind, errorType) {
    case (.unknownChannel, _):
      "Create the channel first, check its name and the region, or allow its creation."
    case (.clockSkew, _): "Check this machine's clock."
    case (.credentials, "InvalidSignatureException"), (.credentials, "SignatureDoesNotMatch"):
      "The secret access key does not belong to the access key; check AWS_SECRET_ACCESS_KEY."
    case (.credentials, "UnrecognizedClientException"), (.credentials, "InvalidClientTokenId"):
      "The service does not know the access key or session token; check AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN."
    case (.credentials, "ExpiredTokenException"): "The session token has ended; get new credentials."
    case (.credentials, _): "Check that the credentials' policy allows this action on the channel."
    case (.network, _): "Check the network, the region and the endpoint."
    case (_, Self.untrustedServer):
      "If the endpoint has a certificate authority of its own, name its file (AWS_CA_BUNDLE)."
    default: nil
    }
  }
}

extension KinesisVideoError: CustomStringConvertible {
  /// One sentence for a person, and what to do.
  public var description: String {
    var text = "\(errorType): \(message.isEmpty ? "the service gave no reason" : message)"
    if statusCode != 0 { text += " (HTTP \(statusCode)" + (requestID.map { ", request \($0)" } ?? "") + ")" }
    if let hint { text += " \(hint)" }
    return text
  }
}

extension KinesisVideoError {
  /// Reads an answer that is no success, as contract says: the name from the header `x-amzn-ErrorType` up to a colon, else from the
  /// body's `__type` after a `#`, else from `code`; the sentence from `message` or `Message`.
  ///
  /// - Parameters:
  ///   - statusCode: The answer's status.
  ///   - header: Looks a header up by its lower-case name.
  ///   - body: The answer's body, JSON or the XML that the service's front end sends for unknown paths.
  public init(statusCode: Int, header: (String) -> String?, body: [UInt8]) {
    self.init(statusCode: statusCode, header: header, body: body, secrets: KnownSecrets())
  }

  /// The same without what the answer quotes of our secrets; they are taken out before anything is shortened.
  init(statusCode: Int, header: (String) -> String?, body: [UInt8], secrets: KnownSecrets) {
    let fields = Self.fields(of: body)
    let headerType = header("x-amzn-errortype")?.split(separator: ":").first.map(String.init)
    let bodyType = (fields["__type"] ?? fields["code"])?.split(separator: "#").last.map(String.init)
    self.init(
      errorType: secrets.removed(from: headerType ?? bodyType ?? "HTTP\(statusCode)"),
      message: secrets.removed(from: fields["message"] ?? fields["Message"] ?? ""),
      statusCode: statusCode,
      requestID: header("x-amzn-requestid").map { secrets.removed(from: $0) },
      serverTime: header("date").flatMap { UnixTime(httpDate: $0) })
  }

  private static func fields(of body: [UInt8]) -> [String: String] {
    if body.first(where: { $0 > 0x20 }) == UInt8(ascii: "<") { return xmlFields(of: body) }
    guard let known = try? JSONDecoder().decode(Body.self, from: Data(body)) else { return [:] }
    return known.fields
  }

  /// The body's members of interest, each ignored when it is no string.
  private struct Body: Decodable {
    var fields: [String: String] = [:]

    enum Key: String, CodingKey, CaseIterable { case __type, code, message, Message }

    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: Key.self)
      for key in Key.allCases {
        if let text = try? container.decode(String.self, forKey: key) { fields[key.rawValue] = text }
      }
    }
  }

  /// The root's name and the text of `Message`; enough for the one XML answer that the service is known to give.
  private static func xmlFields(of body: [UInt8]) -> [String: String] {
    let text = String(decoding: body.prefix(4096), as: UTF8.self)
    var fields: [String: String] = [:]
    let tags = text.split(separator: "<").map { $0.split(separator: ">", maxSplits: 1) }
    for tag in tags {
      guard let name = tag.first, !name.hasPrefix("?"), !name.hasPrefix("/"), !name.hasPrefix("!") else {
        continue
      }
      if fields["code"] == nil { fields["code"] = String(name.prefix { $0 != " " }) }
      if name == "Message", tag.count == 2, fields["message"] == nil { fields["message"] = String(tag[1]) }
    }
    return fields
  }
}
