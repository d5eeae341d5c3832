// SPDX-License-Identifier: Apache-2.0

import Crypto
import SansIO

/// The service's side of Signature Version 4: checks REST calls over exactly the headers that they name, and presigned
/// addresses as a set of parameters.
///
/// A refusal is a ``KinesisVideoError`` with status 403 and the service's sentence, ready to be answered. The signature
/// is checked before the times, so that only someone with the key learns of our clock.
public struct SignatureVerifier: Sendable {
  /// The region that scopes must name.
  public var region: String
  /// The service that scopes must name.
  public var service: String
  /// The credentials of an access key; `nil` when unknown.
  public var credentials: @Sendable (_ accessKeyID: String) -> AWSCredentials?

  /// How far a REST call's time may be from ours, and a presigned address's ahead of it: the service's 5 minutes.
  public static let skewSecondsMax: Int64 = 300
  /// Longest life of a presigned address: 7 days.
  public static let expiresSecondsMax: Int64 = 604_800
  /// Most headers that one signature may cover.
  public static let signedHeadersMax = 64

  /// Joins what the check needs to know.
  public init(
    region: String, service: String = SignatureV4.kinesisVideo,
    credentials: @escaping @Sendable (_ accessKeyID: String) -> AWSCredentials?
  ) {
    self.region = region
    self.service = service
    self.credentials = credentials
  }

  /// The parts of a signature, from a header or a query.
  private struct Claim {
    var accessKeyID: String
    var scope: SignatureV4.Scope
    var signedHeaders: [String]
    var signature: String
    var timestamp: String
    var time: UnixTime
    var sessionToken: String?
  }

  // MARK: REST

  /// Checks a REST call.
  ///
  /// - Parameters:
  ///   - method: The HTTP method.
  ///   - target: The request line's target, as received.
  ///   - headers: All headers, as received.
  ///   - body: The whole body.
  ///   - now: Our clock.
  /// - Returns: The access key's identifier.
  /// - Throws: A refusal with status 403.
  public func verify(
    method: String, target: String, headers: [(name: String, value: String)], body: [UInt8], at now: UnixTime
  ) throws(KinesisVideoError) -> String {
    let claim = try claim(ofHeaders: headers)
    let (path, query) = ServiceURL.pathAndQuery(target)
    guard let items = ServiceURL.queryItems(of: query ?? "") else { throw Self.mismatch() }
    try check(
      claim,
      canonicalRequest: SignatureV4.canonicalRequest(
        method: method, path: path, query: items, headers: headers, signedHeaders: claim.signedHeaders,
        payloadHash: SignatureV4.sha256(body)))
    let oldest = now.advanced(bySeconds: -Self.skewSecondsMax)
    if claim.time < oldest {
      throw Self.refusal(
        "InvalidSignatureException",
        "Signature expired: \(claim.timestamp) is now earlier than \(oldest.basicFormat) (\(now.basicFormat) - 5 min.)"
      )
    }
    try checkNotAhead(claim, at: now)
    return claim.accessKeyID
  }

  private func claim(ofHeaders headers: [(name: String, value: String)]) throws(KinesisVideoError) -> Claim {
    func header(_ name: String) -> String? { headers.first { $0.name.lowercased() == name }?.value }
    guard let authorization = header("authorization") else {
      throw Self.refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
    }
    guard authorization.utf8.count <= 4096, authorization.hasPrefix(SignatureV4.algorithm + " ") else {
      throw Self.incomplete("the Authorization header is not of \(SignatureV4.algorithm)")
    }
    var fields: [String: String] = [:]
    for part in authorization.dropFirst(SignatureV4.algorithm.count).split(separator: ",").prefix(8) {
      let pair = part.split(separator: "=", maxSplits: 1).map { String($0).trimmingBlanks() }
      if pair.count == 2 { fields[pair[0]] = pair[1] }
    }
    guard let credential = fields["Credential"], let names = fields["SignedHeaders"],
      let signature = fields["Signature"], let timestamp = header("x-amz-date")
    else {
      throw Self.incomplete("Credential, SignedHeaders, Signature and the header x-amz-date are needed")
    }
    let claim = try Self.claim(
      credential: credential, signedHeaders: names, signature: signature, timestamp: timestamp,
      sessionToken: header("x-amz-security-token"))
    guard claim.signedHeaders.contains("x-amz-date") else {
      throw Self.incomplete("'x-amz-date' must be a signed header")
    }
    return claim
  }

  // MARK: Presigned

  /// Checks the request that opens a WebSocket.
  ///
  /// - Parameters:
  ///   - target: The request line's target, as received.
  ///   - host: The `Host` header, as received.
  ///   - now: Our clock.
  /// - Returns: The operation's parameters by name, decoded, and the access key's identifier as `X-Amz-Credential`.
  /// - Throws: A refusal with status 403.
  public func verifyPresigned(
    target: String, host: String, at now: UnixTime
  ) throws(KinesisVideoError) -> [String: String] {
    let (path, query) = ServiceURL.pathAndQuery(target)
    guard target.utf8.count <= ServiceURL.charactersMax, let items = ServiceURL.queryItems(of: query ?? "")
    else {
      throw Self.incomplete("the query is malformed")
    }
    var parameters: [String: String] = [:]
    for item in items {
      guard parameters.updateValue(item.value, forKey: item.name) == nil else {
        throw Self.incomplete("the query names a parameter twice")
      }
    }
    let claim = try claim(ofParameters: parameters)
    try check(
      claim,
      canonicalRequest: SignatureV4.canonicalRequest(
        method: "GET", path: path, query: items.filter { $0.name != "X-Amz-Signature" },
        headers: [("host", host)], signedHeaders: claim.signedHeaders,
        payloadHash: SignatureV4.emptyPayloadHash))
    try checkNotAhead(claim, at: now)
    guard let expires = parameters["X-Amz-Expires"].flatMap({ Int64($0) }),
      (1...Self.expiresSecondsMax).contains(expires)
    else {
      throw Self.refusal("InvalidSignatureException", "X-Amz-Expires must be between 1 and 604800 seconds")
    }
    let end = claim.time.advanced(bySeconds: expires)
    guard now <= end else {
      throw Self.refusal(
        "InvalidSignatureException",
        "Signature expired: \(now.basicFormat) is now later than \(end.basicFormat) "
          + "(\(claim.timestamp) + \(expires) s)")
    }
    parameters["X-Amz-Credential"] = claim.accessKeyID
    parameters["X-Amz-Signature"] = nil
    return parameters
  }

  private func claim(ofParameters parameters: [String: String]) throws(KinesisVideoError) -> Claim {
    guard let signature = parameters["X-Amz-Signature"] else {
      throw Self.refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
    }
    guard parameters["X-Amz-Algorithm"] == SignatureV4.algorithm,
      let credential = parameters["X-Amz-Credential"],
      let names = parameters["X-Amz-SignedHeaders"], let timestamp = parameters["X-Amz-Date"]
    else {
      throw Self.incomplete(
        "X-Amz-Algorithm, X-Amz-Credential, X-Amz-SignedHeaders and X-Amz-Date are needed")
    }
    guard names == "host" else { throw Self.incomplete("a WebSocket address signs the header host alone") }
    return try Self.claim(
      credential: credential, signedHeaders: names, signature: signature, timestamp: timestamp,
      sessionToken: parameters["X-Amz-Security-Token"])
  }

  // MARK: Both

  private static func claim(
    credential: String, signedHeaders: String, signature: String, timestamp: String, sessionToken: String?
  ) throws(KinesisVideoError) -> Claim {
    let parts = credential.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 5, parts[4] == SignatureV4.terminator else {
      throw incomplete("the credential is not of the form key/date/region/service/\(SignatureV4.terminator)")
    }
    guard let time = UnixTime(basicFormat: timestamp) else {
      throw incomplete("the date is not of the form yyyymmddThhmmssZ")
    }
    let names = signedHeaders.split(separator: ";").map(String.init)
    guard names.contains("host"), names == names.sorted(), Set(names).count == names.count,
      names.count <= signedHeadersMax, names.allSatisfy({ $0 == $0.lowercased() })
    else { throw incomplete("the signed headers must be sorted lower-case names with 'host' among them") }
    return Claim(
      accessKeyID: parts[0],
      scope: SignatureV4.Scope(dateStamp: parts[1], region: parts[2], service: parts[3]),
      signedHeaders: names, signature: signature, timestamp: timestamp, time: time, sessionToken: sessionToken
    )
  }

  private func check(_ claim: Claim, canonicalRequest: String) throws(KinesisVideoError) {
    guard let known = credentials(claim.accessKeyID), known.sessionToken?.unredacted == claim.sessionToken
    else {
      throw Self.refusal(
        "UnrecognizedClientException", "The security token included in the request is invalid.")
    }
    guard claim.scope.region == region, claim.scope.service == service,
      claim.timestamp.hasPrefix(claim.scope.dateStamp + "T")
    else {
      throw Self.refusal(
        "InvalidSignatureException",
        "Credential should be scoped to \(region)/\(service)/\(SignatureV4.terminator) and to the request's date."
      )
    }
    let text = SignatureV4.stringToSign(
      canonicalRequest: canonicalRequest, scope: claim.scope, timestamp: claim.timestamp)
    let key = SignatureV4.signingKey(secretAccessKey: known.secretAccessKey, scope: claim.scope)
    let expected = SignatureV4.signature(stringToSign: text, signingKey: key)
    guard Self.isEqual(expected, claim.signature) else { throw Self.mismatch() }
  }

  private func checkNotAhead(_ claim: Claim, at now: UnixTime) throws(KinesisVideoError) {
    let latest = now.advanced(bySeconds: Self.skewSecondsMax)
    guard claim.time <= latest else {
      throw Self.refusal(
        "InvalidSignatureException",
        "Signature not yet current: \(claim.timestamp) is still later than \(latest.basicFormat) "
          + "(\(now.basicFormat) + 5 min.)")
    }
  }

  /// Compares without telling by its time how many characters agree.
  private static func isEqual(_ left: String, _ right: String) -> Bool {
    guard left.utf8.count == right.utf8.count else { return false }
    return zip(left.utf8, right.utf8).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
  }

  private static func mismatch() -> KinesisVideoError {
    refusal(
      "InvalidSignatureException",
      "The request signature we calculated does not match the signature you provided. Check your secret access key."
    )
  }

  private static func incomplete(_ reason: String) -> KinesisVideoError {
    refusal("IncompleteSignatureException", "The signature is incomplete: \(reason).")
  }

  private static func refusal(_ errorType: String, _ message: String) -> KinesisVideoError {
    KinesisVideoError(errorType: errorType, message: message, statusCode: 403)
  }
}

extension String {
  fileprivate func trimmingBlanks() -> String {
    String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
  }
}
