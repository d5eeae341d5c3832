// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import SansIO
import Testing

@testable import LocalKinesisVideo

/// A service in virtual time, and requests that are signed for it.
struct ServiceHarness {
  static let authority = "127.0.0.1:8080"
  static let secret = "local-secret"

  var service: LocalService
  var now = ServiceTime(instant: .zero, unixMilliseconds: 1_706_703_330_250)
  let credentials = AWSCredentials(accessKeyID: "local", secretAccessKey: Secret(secret))

  init(relay: RelayOffer? = nil) {
    var configuration = LocalService.Configuration(credentials: credentials)
    configuration.relay = relay
    service = LocalService(configuration: configuration, random: RandomSource(seed: 3))
  }

  /// A REST request as a client signs it; the parameters are what tests get wrong.
  func request(
    _ path: String, body: String, authority: String = authority, secret: String = secret,
    region: String = "us-west-2", service: String = "kinesisvideo", secondsOff: Int64 = 0
  ) -> ServiceRequest {
    guard let url = ServiceURL("http://" + authority + path) else {
      Issue.record("not a URL: \(authority)\(path)")
      return ServiceRequest(method: "POST", target: path, headers: [])
    }
    let bytes = Array(body.utf8)
    let headers = SignatureV4.signedHeaders(
      method: "POST", url: url, headers: [("content-type", "application/json")], body: bytes,
      credentials: AWSCredentials(accessKeyID: "local", secretAccessKey: Secret(secret)), region: region,
      service: service, at: now.unixTime.advanced(bySeconds: secondsOff))
    return ServiceRequest(method: "POST", target: path, headers: headers, body: bytes)
  }

  mutating func call(_ path: String, _ body: String) -> (status: Int, body: String, type: String?) {
    let response = service.respond(to: request(path, body: body), at: now)
    return (
      response.status, String(decoding: response.body, as: UTF8.self), response.header("x-amzn-ErrorType")
    )
  }

  mutating func createChannel(_ name: String = "porch") throws -> String {
    try service.createChannelIfMissing(named: name, at: now)
  }

  /// The request that opens a WebSocket.
  func handshake(
    path: String, parameters: [(name: String, value: String)], authority: String = authority,
    secret: String = secret, secondsOff: Int64 = 0
  ) -> ServiceRequest {
    guard let url = ServiceURL("ws://" + authority + path) else {
      Issue.record("not a URL: \(authority)\(path)")
      return ServiceRequest(method: "GET", target: path, headers: [])
    }
    let address = SignatureV4.presignedURL(
      url, parameters: parameters,
      credentials: AWSCredentials(accessKeyID: "local", secretAccessKey: Secret(secret)), region: "us-west-2",
      at: now.unixTime.advanced(bySeconds: secondsOff)
    ).unredacted
    return ServiceRequest(
      method: "GET", target: String(address.dropFirst("ws://".count + authority.count)),
      headers: [
        ("Host", authority), ("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
      ])
  }

  /// The status and type of a refused handshake; 101 for one that is not.
  mutating func connect(_ request: ServiceRequest) -> (status: Int, type: String?, message: String) {
    do throws(KinesisVideoError) {
      _ = try service.connect(request, at: now)
      return (101, nil, "")
    } catch {
      return (error.statusCode, error.errorType, error.message)
    }
  }
}

@Suite("The stand-in answers the control plane's requests")
struct LocalServiceTests {
  @Test("AT-05 and AT-19 a description has its one member first and the creation time as a number")
  func describe() throws {
    var harness = ServiceHarness()
    let created = harness.call("/createSignalingChannel", #"{"ChannelName":"porch"}"#)
    #expect(created.status == 200)
    #expect(created.body.hasPrefix(#"{"ChannelARN":"arn:aws:kinesisvideo:us-west-2:"#))
    let described = harness.call("/describeSignalingChannel", #"{"ChannelName":"porch"}"#)
    #expect(described.body.hasPrefix(#"{"ChannelInfo":{"#))
    #expect(described.body.contains(#""CreationTime":1706703330.25"#))
    #expect(described.body.contains(#""SingleMasterConfiguration":{"MessageTtlSeconds":60}"#))
    #expect(described.body.contains(#""ChannelStatus":"ACTIVE""#))
  }

  @Test("AT-06 an unknown channel is 404 with the type in a header and the sentence in the body")
  func unknownChannel() {
    var harness = ServiceHarness()
    let answer = harness.call("/describeSignalingChannel", #"{"ChannelName":"none"}"#)
    #expect(answer.status == 404)
    #expect(answer.type == "ResourceNotFoundException")
    #expect(answer.body.hasPrefix(#"{"Message":""#))
  }

  @Test("AT-07 and AT-08 update and delete over the wire")
  func updateAndDelete() throws {
    var harness = ServiceHarness()
    let arn = try harness.createChannel()
    let stale = harness.call(
      "/updateSignalingChannel",
      #"{"ChannelARN":"\#(arn)","CurrentVersion":"x","SingleMasterConfiguration":{"MessageTtlSeconds":9}}"#)
    #expect(stale.type == "VersionMismatchException")
    let version = try harness.service.registry.channel(arn: arn).version
    let updated = harness.call(
      "/updateSignalingChannel",
      #"{"ChannelARN":"\#(arn)","CurrentVersion":"\#(version)","SingleMasterConfiguration":{"MessageTtlSeconds":9}}"#
    )
    #expect(updated.status == 200)
    #expect(updated.body == "{}")
    let ttl = try harness.service.registry.channel(arn: arn).messageTTLSeconds
    #expect(ttl == 9)
    #expect(harness.call("/deleteSignalingChannel", #"{"ChannelARN":"\#(arn)"}"#).status == 200)
    #expect(harness.call("/describeSignalingChannel", #"{"ChannelARN":"\#(arn)"}"#).status == 404)
  }

  @Test("AT-10 an empty body lists all channels")
  func emptyBody() throws {
    var harness = ServiceHarness()
    _ = try harness.createChannel()
    let answer = harness.call("/listSignalingChannels", "")
    #expect(answer.status == 200)
    #expect(answer.body.hasPrefix(#"{"ChannelInfoList":[{"#))
    #expect(!answer.body.contains("NextToken"))
    let filtered = harness.call(
      "/listSignalingChannels",
      #"{"ChannelNameCondition":{"ComparisonOperator":"BEGINS_WITH","ComparisonValue":"x"},"NextToken":null}"#
    )
    #expect(filtered.body == #"{"ChannelInfoList":[]}"#)
  }

  @Test("AT-11 endpoints are those asked for, on the host of the request, with a path for each role")
  func endpoints() throws {
    var harness = ServiceHarness()
    let arn = try harness.createChannel()
    func body(_ role: String, _ protocols: String) -> String {
      #"{"ChannelARN":"\#(arn)","SingleMasterChannelEndpointConfiguration":{"Protocols":[\#(protocols)],"Role":"\#(role)"}}"#
    }
    let hash = SignatureV4.sha256(Array(arn.utf8)).prefix(8)
    let master = harness.call("/getSignalingChannelEndpoint", body("MASTER", #""WSS","HTTPS""#))
    #expect(
      master.body
        == #"{"ResourceEndpointList":[{"Protocol":"WSS","ResourceEndpoint":"ws://127.0.0.1:8080/m/\#(hash)"},"#
        + #"{"Protocol":"HTTPS","ResourceEndpoint":"http://127.0.0.1:8080"}]}"#)
    let viewer = harness.call("/getSignalingChannelEndpoint", body("VIEWER", #""WSS""#))
    #expect(
      viewer.body
        == #"{"ResourceEndpointList":[{"Protocol":"WSS","ResourceEndpoint":"ws://127.0.0.1:8080/v/\#(hash)"}]}"#
    )
    let other = harness.request(
      "/getSignalingChannelEndpoint", body: body("VIEWER", #""HTTPS""#), authority: "[fe80::1]:90")
    let response = harness.service.respond(to: other, at: harness.now)
    #expect(String(decoding: response.body, as: UTF8.self).contains("http://[fe80::1]:90"))
  }

  @Test("AT-12 a storage endpoint, an unknown protocol and an unknown role are invalid arguments")
  func refusedEndpoints() throws {
    var harness = ServiceHarness()
    let arn = try harness.createChannel()
    for configuration in [
      #"{"Protocols":["WSS","WEBRTC"],"Role":"MASTER"}"#, #"{"Protocols":["FTP"],"Role":"MASTER"}"#,
      #"{"Protocols":[],"Role":"MASTER"}"#, #"{"Protocols":["WSS"],"Role":"OWNER"}"#,
    ] {
      let answer = harness.call(
        "/getSignalingChannelEndpoint",
        #"{"ChannelARN":"\#(arn)","SingleMasterChannelEndpointConfiguration":\#(configuration)}"#)
      #expect(answer.type == "InvalidArgumentException", "\(configuration)")
    }
  }

  @Test("AT-13 tags are given as a list and come back as a map")
  func tags() throws {
    var harness = ServiceHarness()
    let arn = try harness.createChannel()
    #expect(
      harness.call("/TagResource", #"{"ResourceARN":"\#(arn)","Tags":[{"Key":"a","Value":"b"}]}"#).status
        == 200)
    #expect(
      harness.call("/ListTagsForResource", #"{"ResourceARN":"\#(arn)"}"#).body == #"{"Tags":{"a":"b"}}"#)
    #expect(harness.call("/UntagResource", #"{"ResourceARN":"\#(arn)","TagKeyList":["a"]}"#).status == 200)
    #expect(harness.call("/ListTagsForResource", #"{"ResourceARN":"\#(arn)"}"#).body == #"{"Tags":{}}"#)
  }

  @Test(
    "AT-17 an unknown path or method is answered in XML",
    arguments: ["/none", "/CreateSignalingChannel", "*"])
  func unknownPath(path: String) {
    var harness = ServiceHarness()
    for method in ["POST", "PUT", "DELETE", "GET"] {
      let response = harness.service.respond(
        to: ServiceRequest(method: method, target: path, headers: [("Host", "h")]), at: harness.now)
      #expect(response.status == 403)
      #expect(response.header("Content-Type") == "application/xml")
      let body = String(decoding: response.body, as: UTF8.self)
      #expect(body.contains("Unable to determine service/operation name to be authorized"))
    }
  }

  @Test("AT-18 every answer carries a request id and the date, and pages of other origins may read it")
  func commonHeaders() throws {
    var harness = ServiceHarness()
    var ids: Set<String> = []
    for request in [
      harness.request("/listSignalingChannels", body: "{}"),
      harness.request("/listSignalingChannels", body: "["),
      ServiceRequest(method: "POST", target: "/listSignalingChannels", headers: [("Host", "h")]),
      ServiceRequest(method: "POST", target: "/none", headers: [("Host", "h")]),
      ServiceRequest(method: "OPTIONS", target: "/listSignalingChannels", headers: [("Host", "h")]),
      ServiceRequest(method: "POST", target: "/listSignalingChannels", headers: []),
    ] {
      let response = harness.service.respond(to: request, at: harness.now)
      #expect(response.header("Date") == "Wed, 31 Jan 2024 12:15:30 GMT")
      #expect(response.header("Access-Control-Allow-Origin") == "*")
      ids.insert(response.header("x-amzn-RequestId") ?? "")
    }
    #expect(ids.count == 6)
    #expect(ids.allSatisfy { $0.utf8.count == 36 })
  }

  @Test("a preflight allows what the service's browser library sends")
  func preflight() {
    var harness = ServiceHarness()
    let response = harness.service.respond(
      to: ServiceRequest(method: "OPTIONS", target: "/describeSignalingChannel", headers: [("Host", "h")]),
      at: harness.now)
    let allowed = response.header("Access-Control-Allow-Headers") ?? ""
    for name in [
      "authorization", "content-type", "x-amz-content-sha256", "x-amz-date", "x-amz-user-agent",
      "x-amz-security-token", "amz-sdk-invocation-id", "amz-sdk-request",
    ] {
      #expect(allowed.contains(name))
    }
    #expect(response.status == 200)
  }

  @Test(
    "AT-49 ICE servers: an empty list without a TURN server, 404 for an unknown channel, 400 for a malformed client id"
  )
  func iceServers() throws {
    var harness = ServiceHarness()
    let arn = try harness.createChannel()
    let path = "/v1/get-ice-server-config"
    #expect(
      harness.call(path, #"{"ChannelARN":"\#(arn)","ClientId":"v","Service":"TURN"}"#).body
        == #"{"IceServerList":[]}"#)
    #expect(harness.call(path, #"{"ChannelARN":"\#(arn)1"}"#).status == 404)
    #expect(harness.call(path, #"{"ChannelARN":"\#(arn)","ClientId":"a b"}"#).status == 400)
    #expect(harness.call(path, #"{"ChannelARN":"\#(arn)","Service":"STUN"}"#).status == 400)
  }

  @Test(
    "T33 malformed bodies are answered with 400",
    arguments: [
      "{", "[]", "null", "7", #"{"ChannelName":7}"#, #"{"ChannelName":null}"#, "{}",
      #"{"ChannelName":["a"]}"#,
      #"{"ChannelName":"a","Tags":{"a":"b"}}"#, #"{"ChannelName":"a","SingleMasterConfiguration":7}"#,
      #"{"ChannelName":"a","SingleMasterConfiguration":{"MessageTtlSeconds":1e99}}"#,
      #"{"ChannelName":"a","SingleMasterConfiguration":{"MessageTtlSeconds":5.5}}"#,
      String(repeating: "[", count: 60_000), String(repeating: #"{"ChannelName":"#, count: 4000),
      "\u{feff}{}",
    ])
  func malformedBodies(body: String) {
    var harness = ServiceHarness()
    let answer = harness.call("/createSignalingChannel", body)
    #expect(answer.status == 400, "\(answer.body)")
    #expect(harness.service.registry.channels.isEmpty)
  }

  @Test("T33 deep bodies are answered with 400")
  func deepBodies() {
    var harness = ServiceHarness()
    for body in [String(repeating: "[", count: 60_000), String(repeating: #"{"ChannelName":"#, count: 4000)] {
      #expect(harness.call("/createSignalingChannel", body).status == 400)
    }
  }

  @Test("T33 every prefix of a body is answered")
  func prefixes() {
    var harness = ServiceHarness()
    let body = #"{"ChannelName":"a","Tags":[{"Key":"k","Value":"é"}]}"#
    for count in 1..<body.utf8.count {
      let bytes = Array(body.utf8.prefix(count))
      var request = harness.request("/createSignalingChannel", body: "")
      // The signature covers the broken bytes.
      if let url = ServiceURL("http://127.0.0.1:8080/createSignalingChannel") {
        request.headers = SignatureV4.signedHeaders(
          method: "POST", url: url, headers: [], body: bytes, credentials: harness.credentials,
          region: "us-west-2", at: harness.now.unixTime)
      }
      request.body = bytes
      let response = harness.service.respond(to: request, at: harness.now)
      #expect(response.status == 400)
    }
  }
}

@Suite("The stand-in checks signatures")
struct LocalServiceSignatureTests {
  @Test("AT-23 a request six minutes off tells which way")
  func skew() {
    var harness = ServiceHarness()
    for (seconds, status, text) in [
      (Int64(-360), 403, "Signature expired"), (360, 403, "Signature not yet current"), (-299, 200, ""),
      (299, 200, ""),
    ] {
      let response = harness.service.respond(
        to: harness.request("/listSignalingChannels", body: "{}", secondsOff: seconds), at: harness.now)
      #expect(response.status == status)
      let body = String(decoding: response.body, as: UTF8.self)
      if status == 403 { #expect(body.hasPrefix(#"{"message":""# + text)) }
    }
  }

  @Test("AT-24 a changed body, header or query makes the signature fail")
  func tampering() {
    var harness = ServiceHarness()
    let sound = harness.request("/listSignalingChannels", body: #"{"MaxResults":2}"#)
    #expect(harness.service.respond(to: sound, at: harness.now).status == 200)
    var body = sound
    body.body[body.body.count - 2] ^= 1
    var header = sound
    header.headers = header.headers.map { $0.name == "content-type" ? ($0.name, "text/json") : $0 }
    var host = sound
    host.headers = host.headers.map { $0.name == "host" ? ($0.name, "127.0.0.1:8081") : $0 }
    var query = sound
    query.target = Secret("/listSignalingChannels?a=b")
    for request in [body, header, host, query] {
      let response = harness.service.respond(to: request, at: harness.now)
      #expect(response.status == 403)
      #expect(response.errorType == "InvalidSignatureException")
    }
  }

  @Test("AT-25 a wrong region, service or secret is refused with 403")
  func scope() {
    var harness = ServiceHarness()
    for request in [
      harness.request("/listSignalingChannels", body: "{}", region: "eu-west-1"),
      harness.request("/listSignalingChannels", body: "{}", service: "s3"),
      harness.request("/listSignalingChannels", body: "{}", secret: "other"),
    ] {
      let response = harness.service.respond(to: request, at: harness.now)
      #expect(response.status == 403)
    }
  }

  @Test("AT-20 and AT-26 signed handshakes connect, master and viewer by path or by client id")
  func handshake() throws {
    var harness = ServiceHarness()
    let arn = try harness.createChannel()
    let hash = String(SignatureV4.sha256(Array(arn.utf8)).prefix(8))
    let master = [(name: "X-Amz-ChannelARN", value: arn)]
    func viewer(_ id: String) -> [(name: String, value: String)] {
      master + [(name: "X-Amz-ClientId", value: id)]
    }
    for (path, parameters) in [
      ("/m/" + hash, master), ("/", master), ("/v/" + hash, viewer("a")), ("/", viewer("b_-.")),
      ("/v/" + hash, viewer(String(repeating: "x", count: 256))),
    ] {
      let result = harness.connect(harness.handshake(path: path, parameters: parameters))
      #expect(result.status == 101, "\(path): \(result.message)")
    }
    let presence = harness.service.hub.presence(ofChannel: arn)
    #expect(presence.hasMaster)
    #expect(presence.viewerCount == 3)
  }

  @Test(
    "AT-20 and AT-27 viewers without a proper id are refused with 400",
    arguments: [nil, "", "aws_x", "AWS_X", "a b", "a~", "é", "a/b", String(repeating: "x", count: 257)])
  func illegalClientIDs(id: String?) throws {
    var harness = ServiceHarness()
    let arn = try harness.createChannel()
    let path = LocalService.path(.viewer, of: arn)
    var parameters = [(name: "X-Amz-ChannelARN", value: arn)]
    if let id { parameters.append((name: "X-Amz-ClientId", value: id)) }
    let result = harness.connect(harness.handshake(path: path, parameters: parameters))
    #expect(result.status == 400)
    #expect(result.type == "InvalidArgumentException")
  }

  @Test("AT-21 handshakes that are expired, early, changed or not signed are refused with 403")
  func refusedHandshakes() throws {
    var harness = ServiceHarness()
    let arn = try harness.createChannel()
    let path = LocalService.path(.master, of: arn)
    let parameters = [(name: "X-Amz-ChannelARN", value: arn)]
    #expect(
      harness.connect(harness.handshake(path: path, parameters: parameters, secondsOff: -299)).status == 101)
    let expired = harness.connect(harness.handshake(path: path, parameters: parameters, secondsOff: -300))
    #expect(expired.status == 403)
    #expect(expired.message.contains("Signature expired"))
    let early = harness.connect(harness.handshake(path: path, parameters: parameters, secondsOff: 301))
    #expect(early.status == 403)
    #expect(early.message.contains("Signature not yet current"))
    let wrongSecret = harness.handshake(path: path, parameters: parameters, secret: "other")
    #expect(harness.connect(wrongSecret).status == 403)
    var otherHost = harness.handshake(path: path, parameters: parameters)
    otherHost.headers[0].value = "127.0.0.1:8081"
    #expect(harness.connect(otherHost).status == 403)
    var appended = harness.handshake(path: path, parameters: parameters)
    appended.target = Secret(appended.target.unredacted + "&X-Amz-Security-Token=t")
    #expect(harness.connect(appended).status == 403)
    var unsigned = harness.handshake(path: path, parameters: parameters)
    unsigned.target = Secret(path)
    #expect(harness.connect(unsigned).type == "MissingAuthenticationTokenException")
  }

  @Test("AT-28 an unknown channel is 404, a foreign endpoint and a malformed ARN are 400")
  func unknownChannel() throws {
    var harness = ServiceHarness()
    let arn = try harness.createChannel()
    let other = try harness.createChannel("yard")
    func connect(_ path: String, _ arn: String) -> Int {
      var copy = harness
      let request = copy.handshake(path: path, parameters: [(name: "X-Amz-ChannelARN", value: arn)])
      return copy.connect(request).status
    }
    #expect(connect("/", arn + "4") == 404)
    #expect(connect(LocalService.path(.master, of: other), arn) == 400)
    #expect(connect("/", "arn:aws:x") == 400)
    #expect(connect(LocalService.path(.master, of: arn), arn) == 101)
  }

  @Test("a malformed opening handshake is refused before anything else")
  func malformedHandshake() throws {
    var harness = ServiceHarness()
    let arn = try harness.createChannel()
    let sound = harness.handshake(path: "/", parameters: [(name: "X-Amz-ChannelARN", value: arn)])
    let changes: [(String, String, Int)] = [
      ("Connection", "close", 400), ("Sec-WebSocket-Version", "8", 426), ("Sec-WebSocket-Key", "short", 400),
      ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j\u{7f}Q==", 400), ("Host", "a b", 400),
    ]
    for (name, value, status) in changes {
      var request = sound
      request.headers = request.headers.map { $0.name == name ? (name, value) : $0 }
      #expect(harness.connect(request).status == status, "\(name)")
      request.headers.removeAll { $0.name == name }
      #expect(harness.connect(request).status != 101, "\(name)")
      request.headers += [(name, value), (name, value)]
      #expect(harness.connect(request).status != 101, "\(name)")
    }
  }

  @Test("T39 requests describe themselves without query, headers and body")
  func descriptions() {
    let harness = ServiceHarness()
    let request = harness.handshake(path: "/m/0", parameters: [(name: "X-Amz-ChannelARN", value: "canary")])
    #expect("\(request)" == "GET /m/0")
    #expect(!String(reflecting: request).contains("X-Amz"))
    #expect(!"\(harness.credentials)".contains(ServiceHarness.secret))
  }
}

@Suite("The stand-in serves the viewer page")
struct ViewerPageTests {
  private func get(
    _ harness: inout ServiceHarness, _ target: String, host: String = ServiceHarness.authority,
    headers: [(name: String, value: String)] = []
  ) -> ServiceResponse {
    harness.service.respond(
      to: ServiceRequest(method: "GET", target: target, headers: [("Host", host)] + headers), at: harness.now)
  }

  @Test("the page and its files come with a tag, and not again while they are the same")
  func assets() {
    var harness = ServiceHarness()
    for (target, type) in [
      ("/", "text/html"), ("/?channel=porch", "text/html"), ("/viewer.js", "text/javascript"),
      ("/viewer.css", "text/css"), ("/console.js", "text/javascript"),
    ] {
      let response = get(&harness, target)
      #expect(response.status == 200)
      #expect(response.header("Content-Type")?.hasPrefix(type) == true)
      #expect(!response.body.isEmpty)
      #expect(response.header("X-Content-Type-Options") == "nosniff")
      #expect(response.header("Content-Security-Policy")?.contains("default-src 'none'") == true)
      #expect(response.header("Access-Control-Allow-Origin") == nil)
      let tag = response.header("ETag") ?? ""
      let again = get(&harness, target, headers: [("If-None-Match", "W/\"x\", " + tag)])
      #expect(again.status == 304)
      #expect(again.body.isEmpty)
    }
  }

  @Test("the list of channels says who is there")
  func channelList() throws {
    var harness = ServiceHarness()
    let arn = try harness.createChannel()
    _ = try harness.service.hub.connect(.master, channelARN: arn, messageTTLSeconds: 60, at: .zero)
    let body = String(decoding: get(&harness, "/api/channels").body, as: UTF8.self)
    #expect(
      body
        == #"{"channels":[{"hasMaster":true,"maxViewers":10,"name":"porch","status":"ACTIVE","viewerCount":0}]}"#
    )
  }

  @Test("the address that the page gets opens a viewer's WebSocket, on the host that the page was opened by")
  func connect() throws {
    var harness = ServiceHarness()
    let arn = try harness.createChannel()
    let response = get(&harness, "/api/connect?channel=porch", host: "camera.local:81")
    #expect(response.status == 200)
    #expect(response.header("Cache-Control") == "no-store")
    let body = String(decoding: response.body, as: UTF8.self)
    #expect(body.contains(#""channelARN":"\#(arn)","clientId":"viewer-"#))
    #expect(!body.contains(ServiceHarness.secret))
    let start = try #require(body.firstRange(of: #""url":"ws://camera.local:81"#))
    let target = body[start.upperBound...].prefix { $0 != "\"" }
    var request = harness.handshake(path: "/", parameters: [], authority: "camera.local:81")
    request.target = Secret(String(target))
    #expect(harness.connect(request).status == 101)
    #expect(harness.service.hub.presence(ofChannel: arn).viewerCount == 1)
  }

  @Test("the page's API refuses unknown channels and full ones")
  func refusals() throws {
    var harness = ServiceHarness()
    let arn = try harness.createChannel()
    for target in ["/api/connect", "/api/connect?channel=", "/api/connect?channel=a%20b"] {
      #expect(get(&harness, target).status == 400)
    }
    #expect(get(&harness, "/api/connect?channel=none").status == 404)
    #expect(get(&harness, "/api/connect?channel=%zz").status == 400)
    for index in 0..<10 {
      _ = try harness.service.hub.connect(
        .viewer(clientID: "v\(index)"), channelARN: arn, messageTTLSeconds: 60, at: .zero)
    }
    let full = get(&harness, "/api/connect?channel=porch")
    #expect(full.status == 400)
    #expect(full.errorType == "ClientLimitExceededException")
  }

  @Test("a foreign name that resolves to this machine gets no signed address")
  func rebinding() throws {
    var harness = ServiceHarness()
    _ = try harness.createChannel()
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example"] {
      #expect(get(&harness, "/api/connect?channel=porch", host: host).status == 403)
      #expect(get(&harness, "/api/channels", host: host).status == 403)
    }
    for host in ["192.168.1.7:8080", "localhost", "[::1]:8080", "camera.local", "camera"] {
      #expect(get(&harness, "/api/connect?channel=porch", host: host).status == 200)
    }
  }

  @Test(
    "hosts that are none are refused",
    arguments: [
      "", "a b", "a\"b", "a/b", "a@b", "a:b", "a:0", "a:65536", "a:-1", "a:", "[::1", "[x]", "[::1]x",
      "a:1:2",
      "<script>", String(repeating: "a", count: 260),
    ])
  func malformedHosts(host: String) {
    var harness = ServiceHarness()
    #expect(HostHeader(parsing: host) == nil)
    #expect(get(&harness, "/", host: host).status == 400)
  }
}
