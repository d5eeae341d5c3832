// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import SansIO
import Testing

/// What reading a client's frame gives: the frame or the failure.
private func client(_ text: String) -> Result<SignalingMessage.ClientFrame, SignalingMessage.Failure> {
  client(Array(text.utf8))
}

private func client(_ bytes: [UInt8]) -> Result<SignalingMessage.ClientFrame, SignalingMessage.Failure> {
  do throws(SignalingMessage.Failure) { return .success(try .init(parsing: bytes)) } catch {
    return .failure(error)
  }
}

private func service(_ text: String) -> Result<SignalingMessage.ServiceFrame, SignalingMessage.Failure> {
  service(Array(text.utf8))
}

private func service(_ bytes: [UInt8]) -> Result<SignalingMessage.ServiceFrame, SignalingMessage.Failure> {
  do throws(SignalingMessage.Failure) { return .success(try .init(parsing: bytes)) } catch {
    return .failure(error)
  }
}

@Suite("Signaling frames")
struct SignalingMessageTests {
  @Test("A client's frame survives the round trip, in the order that the clients in the field use")
  func clientRoundTrip() {
    let frame = SignalingMessage.ClientFrame(
      kind: .answer, recipientClientID: "viewer-1", payload: "e30=", correlationID: "c.1")
    let text =
      #"{"action":"SDP_ANSWER","recipientClientId":"viewer-1","messagePayload":"e30=","correlationId":"c.1"}"#
    #expect(frame.text == text)
    #expect(client(text) == .success(frame))
  }

  @Test("Names of members match in any case, unknown members and nulls are skipped")
  func caseIgnored() {
    let expected = SignalingMessage.ClientFrame(
      kind: .offer, recipientClientID: nil, payload: "e30=", correlationID: "x")
    let frames = [
      #"{"action":"SDP_OFFER","RecipientClientId":"","MessagePayload":"e30=","CorrelationId":"x"}"#,
      #"{"ACTION":"SDP_OFFER","messagepayload":"e30=","correlationID":"x","IceServerList":[{"Uris":[1]}]}"#,
      #" {"correlationId":"x","messagePayload":"e30=","action":"SDP_OFFER","recipientClientId":null} "#,
    ]
    for text in frames { #expect(client(text) == .success(expected)) }
  }

  @Test("A refused frame still tells its correlation identifier")
  func correlation() {
    let long = String(repeating: "A", count: SignalingMessage.payloadCharactersMax + 1)
    let cases: [(String, SignalingMessage.Defect)] = [
      (#"{"action":"HELLO","messagePayload":"e30=","correlationId":"c"}"#, .unknownAction),
      (#"{"messagePayload":"e30=","correlationId":"c"}"#, .unknownAction),
      (#"{"action":"SDP_OFFER","correlationId":"c"}"#, .payloadMissing),
      (#"{"action":"SDP_OFFER","messagePayload":"\#(long)","correlationId":"c"}"#, .payloadTooLong),
      (#"{"action":"SDP_OFFER","messagePayload":5,"correlationId":"c"}"#, .malformed),
      (
        #"{"action":"SDP_OFFER","messagePayload":"e30=","recipientClientId":"a b","correlationId":"c"}"#,
        .invalidIdentifier
      ),
    ]
    for (text, defect) in cases { #expect(client(text) == .failure(.init(defect, correlationID: "c"))) }
    #expect(
      client(#"{"action":"SDP_OFFER","messagePayload":"e30=","correlationId":"a\u0000"}"#)
        == .failure(.init(.invalidIdentifier)))
  }

  @Test("The service's frames survive the round trip")
  func serviceRoundTrip() {
    let frames: [SignalingMessage.ServiceFrame] = [
      .message(kind: .offer, payload: "e30=", senderClientID: "viewer-7f"),
      .message(kind: .iceCandidate, payload: "e30=", senderClientID: nil), .goAway, .reconnectICEServer,
      .statusResponse(
        .init(
          correlationID: "c-1", errorType: "InvalidArgumentException", statusCode: "400",
          description: #"a "quoted" \ reason"#)),
    ]
    for frame in frames { #expect(service(frame.text) == .success(frame)) }
    #expect(
      frames[0].text == #"{"messagePayload":"e30=","messageType":"SDP_OFFER","senderClientId":"viewer-7f"}"#)
  }

  @Test("T33 JSON that is nasty is refused and never traps")
  func nastyJSON() {
    let deep = String(repeating: "[", count: 20_000)
    let objects = String(repeating: #"{"a":"#, count: 8000)
    let texts = [
      "", " ", "null", "[]", "1", "\"x\"", "{", "}", "{]", deep, objects,
      objects + "1" + String(repeating: "}", count: 8000),
      #"{"messageType":1}"#, #"{"messageType":null}"#, #"{"messageType":["GO_AWAY"]}"#, #"{"action":{}}"#,
      #"{"messageType":"SDP_OFFER","messagePayload":{}}"#, #"{"messageType":"SDP_OFFER"}"#,
      #"{"messageType":"STATUS_RESPONSE"}"#, #"{"messageType":"STATUS_RESPONSE","statusResponse":"x"}"#,
      #"{"messageType":"SDP_OFFER","messagePayload":"e30=","senderClientId":7}"#,
      #"{"messageType":"\ud800"}"#, "{\"a\":1e999999}", "{\"a\":" + String(repeating: "9", count: 5000) + "}",
    ]
    for text in texts {
      #expect(throws: SignalingMessage.Failure.self) { try service(text).get() }
      #expect(throws: SignalingMessage.Failure.self) { try client(text).get() }
    }
    let invalid: [UInt8] = Array(#"{"messageType":""#.utf8) + [0xff, 0xfe, 0xc0] + Array(#""}"#.utf8)
    #expect(throws: SignalingMessage.Failure.self) { try service(invalid).get() }
    let huge = [UInt8](repeating: UInt8(ascii: " "), count: SignalingMessage.frameBytesMax + 1)
    #expect(service(huge) == .failure(.init(.frameTooLong)))
    #expect(client(huge) == .failure(.init(.frameTooLong)))
  }

  @Test("T33 an unknown type is known as such, its name made safe")
  func unknownType() {
    #expect(service(#"{"messageType":"NEWS\n\u001b[31m"}"#) == .success(.unknown(#"NEWS\u{a}\u{1b}[31m"#)))
  }

  @Test("T33 duplicate members give the same result every time")
  func duplicates() {
    let text = #"{"messageType":"GO_AWAY","MESSAGETYPE":"RECONNECT_ICE_SERVER"}"#
    let first = service(text)
    for _ in 0..<50 { #expect(service(text) == first) }
  }

  @Test(
    "T36 a sender's identifier that could forge a log line or another session is refused",
    arguments: ["a b", "a\\nb", "a\\u0000", "a/b", "ä", "\\u202e", String(repeating: "x", count: 257)])
  func sender(name: String) {
    let text = #"{"messageType":"SDP_OFFER","messagePayload":"e30=","senderClientId":"\#(name)"}"#
    #expect(service(text) == .failure(.init(.invalidIdentifier)))
  }

  @Test("Every prefix of a frame and thousands of bit flips are read without a trap")
  func damaged() {
    let status = SignalingMessage.StatusResponse(
      correlationID: "c", errorType: "e", statusCode: "400", description: "d")
    let texts = [
      SignalingMessage.ServiceFrame.statusResponse(status).text,
      SignalingMessage.ServiceFrame.message(kind: .offer, payload: "e30=", senderClientID: "v").text,
      SignalingMessage.ClientFrame(kind: .offer, recipientClientID: "v", payload: "e30=", correlationID: "c")
        .text,
    ]
    var random = RandomSource(seed: 33)
    for text in texts {
      let bytes = Array(text.utf8)
      for length in 0..<bytes.count {
        #expect(throws: SignalingMessage.Failure.self) { try service(Array(bytes[..<length])).get() }
        #expect(throws: SignalingMessage.Failure.self) { try client(Array(bytes[..<length])).get() }
      }
      for _ in 0..<1000 {
        var changed = bytes
        for _ in 0..<Int.random(in: 1...3, using: &random) {
          changed[Int.random(in: 0..<bytes.count, using: &random)] ^=
            1 << UInt8.random(in: 0..<8, using: &random)
        }
        _ = service(changed)
        _ = client(changed)
      }
    }
  }
}

@Suite("Payloads of signaling messages")
struct SignalingPayloadTests {
  @Test("A session description survives the round trip, its type first")
  func description() throws {
    let sdp = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=a \"b\" \\ \u{1}ü\r\n"
    let payload = SDPPayload(type: "offer", sdp: sdp)
    #expect(payload.payload.hasPrefix("eyJ0eXBlIjoib2ZmZXIi"))
    #expect(try SDPPayload(parsing: payload.payload) == payload)
  }

  @Test("A candidate survives the round trip, with and without its optional members")
  func candidate() throws {
    let full = ICECandidatePayload(
      candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host", sdpMid: "0", sdpMLineIndex: 0,
      usernameFragment: "qf3x")
    #expect(try ICECandidatePayload(parsing: full.payload) == full)
    let bare = ICECandidatePayload(candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host")
    #expect(try ICECandidatePayload(parsing: bare.payload) == bare)
  }

  @Test(
    "T33 a payload that is no base64 or no such JSON is refused",
    arguments: ["", "%", "e30", "e30=", "bnVsbA==", "W10="])
  func malformed(payload: String) {
    #expect(throws: SignalingMessage.Failure.self) { try SDPPayload(parsing: payload) }
    #expect(throws: SignalingMessage.Failure.self) { try ICECandidatePayload(parsing: payload) }
  }
}

@Suite("Errors of the service")
struct KinesisVideoErrorTests {
  private func error(_ status: Int, _ headers: [String: String], _ body: String) -> KinesisVideoError {
    KinesisVideoError(statusCode: status, header: { headers[$0] }, body: Array(body.utf8))
  }

  @Test("The name comes from the header, else from the body, the sentence from either spelling")
  func decoding() {
    let byHeader = error(
      404, ["x-amzn-errortype": "ResourceNotFoundException:http://x", "x-amzn-requestid": "r-1"],
      #"{"Message":"no such channel","__type":"other"}"#)
    #expect(byHeader.errorType == "ResourceNotFoundException")
    #expect(byHeader.message == "no such channel")
    #expect(byHeader.requestID == "r-1")
    #expect(byHeader.kind == .unknownChannel)
    #expect(
      error(400, [:], #"{"__type":"a.b#ClientLimitExceededException","message":"slow"}"#).kind == .throttled)
    #expect(error(400, [:], #"{"code":"InvalidArgumentException"}"#).kind == .request)
    #expect(error(503, [:], "<html>").kind == .service)
    #expect(error(403, [:], "").errorType == "HTTP403")
    #expect(error(403, [:], #"{"message":7}"#).message == "")
    let xml =
      "<AccessDeniedException>\n  <Message>Unable to determine service</Message>\n</AccessDeniedException>"
    #expect(error(403, [:], xml).errorType == "AccessDeniedException")
    #expect(error(403, [:], xml).message == "Unable to determine service")
  }

  @Test("Wrong credentials and a wrong clock have a hint, and are not tried again")
  func hints() {
    let signature = error(
      403, ["x-amzn-errortype": "InvalidSignatureException"], #"{"message":"does not match"}"#)
    #expect(signature.kind == .credentials)
    #expect(signature.description.contains("AWS_SECRET_ACCESS_KEY"))
    #expect(!signature.isRetriable)
    let skew = error(
      403, ["x-amzn-errortype": "InvalidSignatureException", "date": "Wed, 31 Jan 2024 12:15:30 GMT"],
      #"{"message":"Signature expired: 1 is now earlier than 2"}"#)
    #expect(skew.kind == .clockSkew)
    #expect(skew.serverTime == UnixTime(basicFormat: "20240131T121530Z"))
  }

  @Test("T39 control characters of the service cannot forge a log line, and credentials are not described")
  func logSafety() {
    let forged = error(400, ["x-amzn-errortype": "a\nb"], #"{"message":"x\r\nERROR forged \u001b[2J\u2028"}"#)
    #expect(forged.description.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x2028 })
    let credentials = AWSCredentials(
      accessKeyID: "AKID", secretAccessKey: Secret("canary-secret"), sessionToken: Secret("canary-token"))
    let server = ICEServer(urls: ["turn:x"], username: "u", credential: Secret("canary-turn"))
    let entry = KinesisVideoShapes.ICEServerEntry(
      uris: [], username: "u", password: "canary-turn", ttl: 300)
    let response = KinesisVideoShapes.GetIceServerConfigResponse(iceServerList: [entry])
    let url = ServiceURL("wss://example/?X-Amz-Signature=canary")
    let shown = [
      "\(credentials)", "\(server)", "\(SignalingEvent.iceServers([server]))", "\(response)",
      "\(String(describing: url))",
      String(reflecting: [url]),
    ]
    for text in shown { #expect(!text.contains("canary")) }
  }

  @Test("Addresses are read strictly")
  func addresses() {
    #expect(ServiceURL("wss://m-1.example:8443/a?b=c")?.authority == "m-1.example:8443")
    #expect(ServiceURL("https://example:443")?.authority == "example")
    #expect(ServiceURL("http://[::1]:80/x")?.authority == "[::1]")
    #expect(ServiceURL("http://[::1]:81/x")?.effectivePort == 81)
    for text in [
      "", "ftp://x", "http://", "http://a b", "http://x:0", "http://x:99999", "http://u@x", "http:///p",
      "http://x\r\n/", "http://[::1",
    ] {
      #expect(ServiceURL(text) == nil, "\(text)")
    }
  }
}
