// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import SansIO
import Testing

@Suite("Signature Version 4")
struct SignatureV4Tests {
  static let presigned =
    SignatureVector.load("sigv4-wss-master") + SignatureVector.load("sigv4-wss-viewer")
    + SignatureVector.load("sigv4-wss-jssdk-crosscheck")
  static let rest = SignatureVector.load("sigv4-rest")

  @Test("A presigned address equals the worked one, step by step", arguments: presigned)
  func presignedURL(vector: SignatureVector) throws {
    let url = try #require(vector.input.endpoint.flatMap { ServiceURL($0) })
    let time = try #require(UnixTime(basicFormat: vector.input.amzDate))
    let signed = SignatureV4.presignedURL(
      url, parameters: pairs(vector.input.params ?? [:]), credentials: vector.credentials,
      region: vector.input.region, service: vector.input.service, expiresSeconds: vector.input.expires ?? 299,
      at: time)
    #expect(signed.unredacted == vector.signedUrl)
    try checkSteps(vector, time: time)
  }

  @Test("An authorization header equals the worked one", arguments: rest)
  func authorization(vector: SignatureVector) throws {
    let url = try #require(vector.input.url.flatMap { ServiceURL($0) })
    let time = try #require(UnixTime(basicFormat: vector.input.amzDate))
    let expected = try #require(vector.authorization)
    let names = try #require(expected.split(separator: "SignedHeaders=").last?.split(separator: ",").first)
    let header = SignatureV4.authorization(
      method: vector.input.method, url: url, headers: pairs(vector.input.headersSent ?? [:]),
      signedHeaders: names.split(separator: ";").map(String.init),
      body: Array((vector.input.body ?? "").utf8),
      credentials: vector.credentials,
      scope: .init(dateStamp: time.dateStamp, region: vector.input.region, service: vector.input.service),
      at: time)
    #expect(header == expected)
    try checkSteps(vector, time: time)
  }

  private func checkSteps(_ vector: SignatureVector, time: UnixTime) throws {
    let scope = SignatureV4.Scope(
      dateStamp: time.dateStamp, region: vector.input.region, service: vector.input.service)
    let text = SignatureV4.stringToSign(canonicalRequest: vector.canonicalRequest, scope: scope, at: time)
    #expect(text == vector.stringToSign)
    let key = SignatureV4.signingKey(secretAccessKey: vector.credentials.secretAccessKey, scope: scope)
    let hex = key.unredacted.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    #expect(hex == vector.signingKeyHex)
    #expect(SignatureV4.signature(stringToSign: text, signingKey: key) == vector.signature)
  }

  @Test("What the client signs for a REST call, the verifier accepts")
  func roundTrip() throws {
    let credentials = AWSCredentials(
      accessKeyID: "AKIDEXAMPLE", secretAccessKey: Secret("secret"), sessionToken: Secret("a/b+c= d"))
    let url = try #require(ServiceURL("http://127.0.0.1:4599/describeSignalingChannel?b=2&a=1%20x"))
    let now = UnixTime(seconds: 1_700_000_000)
    let body = Array(#"{"ChannelName":"x"}"#.utf8)
    var headers = SignatureV4.signedHeaders(
      method: "POST", url: url, headers: [("Content-Type", "application/json"), ("User-Agent", "test")],
      body: body, credentials: credentials, region: "eu-west-1", at: now)
    let verifier = SignatureVerifier(region: "eu-west-1") { $0 == "AKIDEXAMPLE" ? credentials : nil }
    let key = try verifier.verify(method: "POST", target: url.target, headers: headers, body: body, at: now)
    #expect(key == "AKIDEXAMPLE")
    headers[0].value = "text/plain"
    #expect(throws: KinesisVideoError.self) {
      try verifier.verify(method: "POST", target: url.target, headers: headers, body: body, at: now)
    }
  }
}

@Suite("Signature verification by the service's side")
struct SignatureVerifierTests {
  /// The verification vectors keep the server's own key in the file's head; it is the vectors' usual one.
  static let serverSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
  static let knownKey = "AKIDEXAMPLE00000LOCAL"

  private func verifier(_ region: String = "us-west-2", token: String? = nil) -> SignatureVerifier {
    let credentials = AWSCredentials(
      accessKeyID: Self.knownKey, secretAccessKey: Secret(Self.serverSecret),
      sessionToken: token.map { Secret($0) })
    return SignatureVerifier(region: region) { $0 == Self.knownKey ? credentials : nil }
  }

  private func status(_ vector: SignatureVector, now: String, token: String?, region: String) throws -> (
    Int, String
  ) {
    let url = try #require(vector.signedUrl.flatMap { ServiceURL($0) })
    let time = try #require(UnixTime(basicFormat: now))
    do throws(KinesisVideoError) {
      _ = try verifier(region, token: token).verifyPresigned(
        target: url.target, host: url.authority, at: time)
      return (101, "")
    } catch {
      return (error.statusCode, error.message)
    }
  }

  @Test(
    "Each case of the verification vectors gives its status",
    arguments: SignatureVector.load("sigv4-wss-verification"))
  func verification(vector: SignatureVector) throws {
    let expected = try #require(vector.verification)
    let token = vector.name.hasPrefix("token-") ? nil : vector.input.sessionToken
    let (code, message) = try status(vector, now: expected.serverNow, token: token, region: "us-west-2")
    #expect(code == expected.expect, "\(message)")
    if let part = expected.messageContains { #expect(message.contains(part)) }
  }

  @Test(
    "Each worked address passes at its own time",
    arguments: SignatureVector.load("sigv4-wss-master") + SignatureVector.load("sigv4-wss-viewer"))
  func worked(vector: SignatureVector) throws {
    let (code, message) = try status(
      vector, now: vector.input.amzDate, token: vector.input.sessionToken, region: vector.input.region)
    #expect(code == 101, "\(message)")
  }

  @Test(
    "Each worked REST call passes at its own time, also with an unsigned token",
    arguments: SignatureV4Tests.rest)
  func rest(vector: SignatureVector) throws {
    let url = try #require(vector.input.url.flatMap { ServiceURL($0) })
    let now = try #require(UnixTime(basicFormat: vector.input.amzDate))
    var headers = pairs(vector.input.headersSent ?? [:])
    headers.append(("Authorization", try #require(vector.authorization)))
    let body = Array((vector.input.body ?? "").utf8)
    let verifier = verifier(token: vector.input.sessionToken)
    let key = try verifier.verify(method: "POST", target: url.target, headers: headers, body: body, at: now)
    #expect(key == Self.knownKey)
  }

  @Test("T37 a clock six minutes off is told apart in both directions")
  func skew() throws {
    let vector = try #require(SignatureV4Tests.rest.first)
    let url = try #require(vector.input.url.flatMap { ServiceURL($0) })
    let signed = try #require(UnixTime(basicFormat: vector.input.amzDate))
    var headers = pairs(vector.input.headersSent ?? [:])
    headers.append(("authorization", try #require(vector.authorization)))
    let body = Array((vector.input.body ?? "").utf8)
    for (offset, part) in [(Int64(360), "Signature expired"), (-360, "Signature not yet current")] {
      do throws(KinesisVideoError) {
        _ = try verifier().verify(
          method: "POST", target: url.target, headers: headers, body: body,
          at: signed.advanced(bySeconds: offset))
        Issue.record("a stale signature passed")
      } catch {
        #expect(error.message.contains(part))
        #expect(error.kind == .clockSkew)
        #expect(error.statusCode == 403)
      }
    }
  }

  @Test("Every bit flip in a presigned query is refused, no prefix of it traps")
  func damaged() throws {
    let vector = try #require(SignatureVector.load("sigv4-wss-viewer").first)
    let url = try #require(vector.signedUrl.flatMap { ServiceURL($0) })
    let now = try #require(UnixTime(basicFormat: vector.input.amzDate))
    let bytes = Array(url.target.utf8)
    let verifier = verifier()
    func passes(_ target: String) -> Bool {
      (try? verifier.verifyPresigned(target: target, host: url.authority, at: now)) != nil
    }
    #expect(passes(url.target))
    for length in 0..<bytes.count { #expect(!passes(String(decoding: bytes[..<length], as: UTF8.self))) }
    var random = RandomSource(seed: 7)
    for _ in 0..<2000 {
      var changed = bytes
      changed[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      let text = String(decoding: changed, as: UTF8.self)
      if SignatureV4.percentDecoded(text) != SignatureV4.percentDecoded(url.target) { #expect(!passes(text)) }
    }
  }

  @Test("A query that names a parameter twice is refused")
  func duplicates() throws {
    let vector = try #require(SignatureVector.load("sigv4-wss-viewer").first)
    let url = try #require(vector.signedUrl.flatMap { ServiceURL($0) })
    let now = try #require(UnixTime(basicFormat: vector.input.amzDate))
    #expect(throws: KinesisVideoError.self) {
      try verifier().verifyPresigned(
        target: url.target + "&X-Amz-ClientId=other", host: url.authority, at: now)
    }
  }
}

@Suite("Civil time")
struct UnixTimeTests {
  @Test(
    "The basic form and back",
    arguments: [
      (0, "19700101T000000Z"), (951_782_400, "20000229T000000Z"), (1_706_703_330, "20240131T121530Z"),
      (253_402_300_799, "99991231T235959Z"), (-1, "19691231T235959Z"),
    ])
  func basicFormat(seconds: Int64, text: String) {
    #expect(UnixTime(seconds: seconds).basicFormat == text)
    #expect(UnixTime(basicFormat: text)?.seconds == seconds)
  }

  @Test("The HTTP form and back, and days that do not exist")
  func httpDate() {
    let time = UnixTime(seconds: 1_706_703_330)
    #expect(time.httpDate == "Wed, 31 Jan 2024 12:15:30 GMT")
    #expect(UnixTime(httpDate: time.httpDate) == time)
    #expect(UnixTime(basicFormat: "20230229T000000Z") == nil)
    #expect(UnixTime(basicFormat: "20231301T000000Z") == nil)
    #expect(UnixTime(httpDate: "Wednesday") == nil)
    #expect(UnixTime(seconds: .max).basicFormat == "99991231T235959Z")
  }

  @Test("Every day of 400 years survives the round trip")
  func everyDay() {
    for day in 0..<Int64(146_097) {
      let time = UnixTime(seconds: day * 86_400)
      #expect(UnixTime(basicFormat: time.basicFormat) == time)
    }
  }
}
