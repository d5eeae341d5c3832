// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials
public import SansIO

/// AWS Signature Version 4, as the video service's clients use it: a header for REST calls, a presigned address for
/// the WebSocket.
///
/// The steps (canonical request, string to sign, key, signature) are public because the service's side needs the same.
public struct SignatureV4: Sendable {
  /// The name that all requests of this service are signed for.
  public static let kinesisVideo = "kinesisvideo"
  /// The only algorithm.
  public static let algorithm = "AWS4-HMAC-SHA256"
  /// The last part of a credential scope.
  public static let terminator = "aws4_request"
  /// SHA-256 of nothing: the payload hash of a presigned WebSocket address.
  public static let emptyPayloadHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

  /// What a signature is valid for: `20240131/us-west-2/kinesisvideo/aws4_request`.
  public struct Scope: Hashable, Sendable, CustomStringConvertible {
    /// The day, eight digits.
    public var dateStamp: String
    /// The region.
    public var region: String
    /// The service.
    public var service: String

    /// Joins the parts.
    public init(dateStamp: String, region: String, service: String = SignatureV4.kinesisVideo) {
      self.dateStamp = dateStamp
      self.region = region
      self.service = service
    }

    /// The scope as it is written.
    public var description: String { "\(dateStamp)/\(region)/\(service)/\(SignatureV4.terminator)" }
  }

  // MARK: Steps

  /// The request in the one form that both sides hash.
  ///
  /// - Parameters:
  ///   - method: The HTTP method, upper case.
  ///   - path: The path as it stands in the request line; empty counts as `/`.
  ///   - query: Decoded names and values, in any order.
  ///   - headers: Headers in any order and case; those not named in `signedHeaders` are left out.
  ///   - signedHeaders: Lower-case names, sorted.
  ///   - payloadHash: Lower-case hexadecimal SHA-256 of the body.
  public static func canonicalRequest(
    method: String, path: String, query: [(name: String, value: String)],
    headers: [(name: String, value: String)], signedHeaders: [String], payloadHash: String
  ) -> String {
    var lines = [
      method, path.isEmpty ? "/" : percentEncoded(path, keepingSlashes: true), canonicalQuery(query),
    ]
    for name in signedHeaders {
      let values = headers.filter { $0.name.lowercased() == name }.map { collapsed($0.value) }
      lines.append(name + ":" + values.joined(separator: ","))
    }
    lines += ["", signedHeaders.joined(separator: ";"), payloadHash]
    return lines.joined(separator: "\n")
  }

  /// Encodes names and values and sorts them by their bytes.
  public static func canonicalQuery(_ query: [(name: String, value: String)]) -> String {
    let encoded = query.map { (Array(percentEncoded($0.name).utf8), Array(percentEncoded($0.value).utf8)) }
    let sorted = encoded.sorted { left, right in
      left.0 == right.0
        ? left.1.lexicographicallyPrecedes(right.1) : left.0.lexicographicallyPrecedes(right.0)
    }
    return sorted.map { String(decoding: $0.0 + [UInt8(ascii: "=")] + $0.1, as: UTF8.self) }
      .joined(separator: "&")
  }

  /// The text that is signed.
  public static func stringToSign(canonicalRequest: String, scope: Scope, at time: UnixTime) -> String {
    stringToSign(canonicalRequest: canonicalRequest, scope: scope, timestamp: time.basicFormat)
  }

  static func stringToSign(canonicalRequest: String, scope: Scope, timestamp: String) -> String {
    [algorithm, timestamp, scope.description, sha256(Array(canonicalRequest.utf8))].joined(separator: "\n")
  }

  /// The key of one day, region and service.
  public static func signingKey(secretAccessKey: Secret<String>, scope: Scope) -> Secret<[UInt8]> {
    var key = Array("AWS4\(secretAccessKey.unredacted)".utf8)
    for part in [scope.dateStamp, scope.region, scope.service, terminator] {
      key = authenticationCode(Array(part.utf8), key: key)
    }
    return Secret(key)
  }

  /// The signature, 64 lower-case hexadecimal digits.
  public static func signature(stringToSign: String, signingKey: Secret<[UInt8]>) -> String {
    hexadecimal(authenticationCode(Array(stringToSign.utf8), key: signingKey.unredacted))
  }

  /// Lower-case hexadecimal SHA-256.
  public static func sha256(_ bytes: [UInt8]) -> String { hexadecimal(Array(SHA256.hash(data: bytes))) }

  // MARK: Signing

  /// The headers to send with a REST call: those given, `host`, `x-amz-date`, the session token and `authorization`.
  ///
  /// - Parameters:
  ///   - method: The HTTP method.
  ///   - url: Where the request goes.
  ///   - headers: Headers of the caller; `content-type` is signed, others are only sent.
  ///   - body: The whole body.
  ///   - credentials: Whose request it is.
  ///   - region: The region of the credential scope; never derived from the host.
  ///   - service: The service of the credential scope.
  ///   - time: The signature's time, corrected by a known offset of the service's clock.
  public static func signedHeaders(
    method: String, url: ServiceURL, headers: [(name: String, value: String)], body: [UInt8],
    credentials: AWSCredentials, region: String, service: String = kinesisVideo, at time: UnixTime
  ) -> [(name: String, value: String)] {
    var all = headers.filter { !["host", "x-amz-date", "authorization"].contains($0.name.lowercased()) }
    all.append(("host", url.authority))
    all.append(("x-amz-date", time.basicFormat))
    if let token = credentials.sessionToken { all.append(("x-amz-security-token", token.unredacted)) }
    let signable: Set = ["content-type", "host", "x-amz-date", "x-amz-security-token"]
    let names = all.map { $0.name.lowercased() }.filter(signable.contains).sorted()
    let value = authorization(
      method: method, url: url, headers: all, signedHeaders: names, body: body, credentials: credentials,
      scope: Scope(dateStamp: time.dateStamp, region: region, service: service), at: time)
    return all + [("authorization", value)]
  }

  /// The value of the `authorization` header over exactly the headers named.
  public static func authorization(
    method: String, url: ServiceURL, headers: [(name: String, value: String)], signedHeaders: [String],
    body: [UInt8], credentials: AWSCredentials, scope: Scope, at time: UnixTime
  ) -> String {
    let canonical = canonicalRequest(
      method: method, path: url.path, query: url.queryItems ?? [], headers: headers,
      signedHeaders: signedHeaders, payloadHash: sha256(body))
    let text = stringToSign(canonicalRequest: canonical, scope: scope, at: time)
    let key = signingKey(secretAccessKey: credentials.secretAccessKey, scope: scope)
    return "\(algorithm) Credential=\(credentials.accessKeyID)/\(scope), "
      + "SignedHeaders=\(signedHeaders.joined(separator: ";")), "
      + "Signature=\(signature(stringToSign: text, signingKey: key))"
  }

  /// The address that opens a WebSocket; it is as good as a password for `expiresSeconds` and so a secret.
  ///
  /// - Parameters:
  ///   - url: The channel's WebSocket endpoint, without a query.
  ///   - parameters: The operation's own parameters, decoded.
  ///   - credentials: Whose connection it is; the session token goes into the signed set.
  ///   - region: The region of the credential scope.
  ///   - service: The service of the credential scope.
  ///   - expiresSeconds: How long the address works, 1 to 604,800; clamped.
  ///   - time: The signature's time.
  public static func presignedURL(
    _ url: ServiceURL, parameters: [(name: String, value: String)], credentials: AWSCredentials,
    region: String,
    service: String = kinesisVideo, expiresSeconds: Int = 299, at time: UnixTime
  ) -> Secret<String> {
    let scope = Scope(dateStamp: time.dateStamp, region: region, service: service)
    var query = parameters
    query.append(("X-Amz-Algorithm", algorithm))
    query.append(("X-Amz-Credential", "\(credentials.accessKeyID)/\(scope)"))
    query.append(("X-Amz-Date", time.basicFormat))
    query.append(("X-Amz-Expires", String(min(max(expiresSeconds, 1), 604_800))))
    query.append(("X-Amz-SignedHeaders", "host"))
    if let token = credentials.sessionToken { query.append(("X-Amz-Security-Token", token.unredacted)) }
    let canonical = canonicalRequest(
      method: "GET", path: url.path, query: query, headers: [("host", url.authority)],
      signedHeaders: ["host"],
      payloadHash: emptyPayloadHash)
    let text = stringToSign(canonicalRequest: canonical, scope: scope, at: time)
    let key = signingKey(secretAccessKey: credentials.secretAccessKey, scope: scope)
    query.append(("X-Amz-Signature", signature(stringToSign: text, signingKey: key)))
    return Secret("\(url.scheme)://\(url.authority)\(url.path)?\(canonicalQuery(query))")
  }

  // MARK: Encoding

  /// Percent-encodes every byte but `A-Z a-z 0-9 - _ . ~` (RFC 3986 §2.3), with upper-case digits.
  public static func percentEncoded(_ text: String, keepingSlashes: Bool = false) -> String {
    var bytes: [UInt8] = []
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
        UInt8(ascii: "~"):
        bytes.append(byte)
      case UInt8(ascii: "/") where keepingSlashes: bytes.append(byte)
      default:
        bytes.append(UInt8(ascii: "%"))
        bytes += hexadecimal([byte]).uppercased().utf8
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Undoes percent-encoding; `nil` for a broken escape or for bytes that are not UTF-8. A plus sign stays one.
  public static func percentDecoded(_ text: some StringProtocol) -> String? {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard let high = rest.popFirst().flatMap(nibble), let low = rest.popFirst().flatMap(nibble) else {
        return nil
      }
      bytes.append(high << 4 | low)
    }
    return String(validating: bytes, as: UTF8.self)
  }

  private static func nibble(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
    default: nil
    }
  }

  private static func authenticationCode(_ bytes: [UInt8], key: [UInt8]) -> [UInt8] {
    Array(HMAC<SHA256>.authenticationCode(for: bytes, using: SymmetricKey(data: key)))
  }

  private static func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  /// A header's value without outer blanks and with inner ones as a single space.
  private static func collapsed(_ value: String) -> String {
    value.split(whereSeparator: { $0 == " " || $0 == "\t" }).joined(separator: " ")
  }
}
