// SPDX-License-Identifier: Apache-2.0

public import KinesisVideo
public import SansIO

/// Everything that the stand-in decides, as one value: signatures, control plane, signaling, the viewer page's API.
///
/// It knows requests and answers but no sockets, so the acceptance tests run without a network and in virtual time.
/// Whoever drives it carries out the ``hub``'s effects after each call and asks ``SignalingHub/nextDeadline`` again.
public struct LocalService: Sendable {
  /// What the stand-in is.
  public struct Configuration: Sendable {
    /// The region that signatures must name and ARNs show.
    public var region = "us-west-2"
    /// The one key pair that may call.
    public var credentials: AWSCredentials
    /// The account's ARNs and bounds.
    public var registry = ChannelRegistry.Configuration()
    /// The signaling quotas.
    public var signaling = SignalingHub.Configuration()
    /// Names besides addresses and local names under which the viewer page may be opened. The page's API signs for
    /// whoever asks, so a foreign name that resolves to this machine must not reach it.
    public var pageHostNames: Set<String> = []
    /// The scheme that advertised endpoints have: `https` once the stand-in has a certificate.
    public var isSecure = false
    /// The TURN server that GetIceServerConfig hands out; `nil` for none.
    public var relay: RelayOffer?
    /// What else it hands out.
    public var otherICEServers: [ICEServer] = []

    /// Joins the key pair with the defaults.
    public init(credentials: AWSCredentials) { self.credentials = credentials }
  }

  let configuration: Configuration
  let verifier: SignatureVerifier
  var random: RandomSource
  /// The channels.
  public internal(set) var registry: ChannelRegistry
  /// The connections.
  public var hub: SignalingHub
  private let page: [String: PageAsset]

  /// Makes a service; `channels` are those of an earlier run.
  public init(configuration: Configuration, random: RandomSource, restoring channels: [SignalingChannel] = [])
  {
    var random = random
    var registryConfiguration = configuration.registry
    registryConfiguration.region = configuration.region
    let credentials = configuration.credentials
    self.configuration = configuration
    verifier = SignatureVerifier(region: configuration.region) { accessKeyID in
      accessKeyID == credentials.accessKeyID ? credentials : nil
    }
    registry = ChannelRegistry(
      configuration: registryConfiguration, random: random.split(), restoring: channels)
    hub = SignalingHub(configuration: configuration.signaling)
    page = PageAsset.all()
    self.random = random
  }

  /// Answers one HTTP request.
  public mutating func respond(to request: ServiceRequest, at now: ServiceTime) -> ServiceResponse {
    guard let host = request.onlyHeader("host").flatMap(HostHeader.init(parsing:)) else {
      return refusal(KinesisVideoError(.invalidArgument, "The request needs one valid Host header."), at: now)
    }
    if request.method == "OPTIONS" { return preflight(at: now) }
    if request.method == "GET" || request.method == "HEAD" {
      return pageResponse(to: request, host: host, at: now)
    }
    guard request.method == "POST", let operation = ControlPlaneOperation(path: request.path) else {
      return unknownOperation(at: now)
    }
    do throws(KinesisVideoError) {
      _ = try verifier.verify(
        method: request.method, target: request.target.unredacted, headers: request.headers,
        body: request.body,
        at: now.unixTime)
      let body = try perform(operation, body: request.body, host: host, at: now)
      return finished(
        ServiceResponse(status: 200, headers: [("Content-Type", "application/json")], body: body), at: now)
    } catch {
      return refusal(error, at: now)
    }
  }

  /// The answer to a request that was refused before it could be read whole.
  public mutating func refusal(_ error: KinesisVideoError, at now: ServiceTime) -> ServiceResponse {
    // The service spells the member with a small letter where it refuses before an operation runs.
    let member = Self.precedesOperation(error) ? "message" : "Message"
    return finished(
      ServiceResponse(
        status: error.statusCode,
        headers: [("x-amzn-ErrorType", error.errorType), ("Content-Type", "application/json")],
        body: ServiceJSON.encode([member: error.message]), errorType: error.errorType), at: now)
  }

  private static func precedesOperation(_ error: KinesisVideoError) -> Bool {
    error.statusCode == 403
  }

  private mutating func unknownOperation(at now: ServiceTime) -> ServiceResponse {
    let text =
      "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be authorized</Message>\n"
      + "</AccessDeniedException>\n"
    return finished(
      ServiceResponse(
        status: 403,
        headers: [("x-amzn-ErrorType", "AccessDeniedException"), ("Content-Type", "application/xml")],
        body: Array(text.utf8), errorType: "AccessDeniedException"), at: now)
  }

  private mutating func preflight(at now: ServiceTime) -> ServiceResponse {
    let allowed = [
      "authorization", "content-type", "x-amz-content-sha256", "x-amz-date", "x-amz-user-agent",
      "x-amz-security-token", "amz-sdk-invocation-id", "amz-sdk-request",
    ]
    return finished(
      ServiceResponse(
        status: 200,
        headers: [
          ("Access-Control-Allow-Methods", "POST, OPTIONS"),
          ("Access-Control-Allow-Headers", allowed.joined(separator: ", ")),
          ("Access-Control-Max-Age", "600"),
        ]), at: now)
  }

  /// Adds what every answer of the service's API carries; pages of any origin may call it, because it trusts signatures
  /// and not cookies.
  private mutating func finished(_ response: ServiceResponse, at now: ServiceTime) -> ServiceResponse {
    var response = response
    response.headers += commonHeaders(at: now)
    response.headers.append(("Access-Control-Allow-Origin", "*"))
    response.headers.append(("Access-Control-Expose-Headers", "x-amzn-RequestId, x-amzn-ErrorType, Date"))
    return response
  }

  /// The request's number and the stand-in's clock, which some clients correct theirs by.
  public mutating func commonHeaders(at now: ServiceTime) -> [(name: String, value: String)] {
    [("x-amzn-RequestId", makeRequestID()), ("Date", now.unixTime.httpDate)]
  }

  private mutating func makeRequestID() -> String {
    let digits = Self.hexadecimal(random.bytes(16))
    var result = ""
    for (index, digit) in digits.enumerated() {
      if [8, 12, 16, 20].contains(index) { result.append("-") }
      result.append(digit)
    }
    return result
  }

  static func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef")
    return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
  }

  /// The ARN of the channel with this name, which is made if it does not exist.
  public mutating func createChannelIfMissing(
    named name: String, at now: ServiceTime
  ) throws(KinesisVideoError) -> String {
    if let channel = registry.channels.first(where: { $0.name == name }) { return channel.arn }
    return try registry.create(name: name, atUnixMilliseconds: now.unixMilliseconds).arn
  }

  /// The relays for a channel's clients, with credentials that begin their time now.
  func iceServers(
    forChannel arn: String, host: HostHeader, at now: ServiceTime
  ) -> [KinesisVideoShapes.ICEServerEntry] {
    let own = configuration.relay.map { $0.entries(forChannel: arn, host: host, at: now.unixTime) } ?? []
    let others = configuration.otherICEServers.map { server in
      KinesisVideoShapes.ICEServerEntry(
        uris: server.urls, username: server.username, password: server.credential?.unredacted,
        ttl: RelayOffer.lifetimeSeconds)
    }
    return own + others
  }

  // MARK: the viewer page

  private mutating func pageResponse(
    to request: ServiceRequest, host: HostHeader, at now: ServiceTime
  ) -> ServiceResponse {
    var response: ServiceResponse
    switch request.path {
    case "/api/channels", "/api/connect":
      response = pageAPIResponse(to: request, host: host, at: now)
    case "/favicon.ico": response = ServiceResponse(status: 204)
    default:
      guard let asset = page[request.path] else { return unknownOperation(at: now) }
      response = asset.response(ifNoneMatch: request.onlyHeader("if-none-match"))
    }
    response.headers += commonHeaders(at: now)
    response.headers += PageAsset.securityHeaders
    return response
  }

  private mutating func pageAPIResponse(
    to request: ServiceRequest, host: HostHeader, at now: ServiceTime
  ) -> ServiceResponse {
    var headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    do throws(KinesisVideoError) {
      guard host.isLocal || configuration.pageHostNames.contains(host.name) else {
        throw KinesisVideoError(
          .accessDenied,
          "The viewer page may only be opened by an address, a local name or a name that was configured.")
      }
      let body =
        request.path == "/api/channels"
        ? channelList() : try viewerConnection(query: request.target.unredacted, host: host, at: now)
      return ServiceResponse(status: 200, headers: headers, body: body)
    } catch {
      headers.append(("x-amzn-ErrorType", error.errorType))
      let body = ServiceJSON.encode(["error": error.errorType, "message": error.message])
      return ServiceResponse(
        status: error.statusCode, headers: headers, body: body, errorType: error.errorType)
    }
  }

  private func channelList() -> [UInt8] {
    let list = registry.channels.map { channel in
      let presence = hub.presence(ofChannel: channel.arn)
      return PageShapes.Channel(
        name: channel.name, status: "ACTIVE", hasMaster: presence.hasMaster,
        viewerCount: presence.viewerCount,
        maxViewers: configuration.signaling.viewersMax)
    }
    return ServiceJSON.encode(PageShapes.ChannelList(channels: list))
  }

  /// Signs a WebSocket address for a page, which so needs no key.
  private mutating func viewerConnection(
    query target: String, host: HostHeader, at now: ServiceTime
  ) throws(KinesisVideoError) -> [UInt8] {
    let query = ServiceURL.pathAndQuery(target).query ?? ""
    let name = ServiceURL.queryItems(of: query)?.first { $0.name == "channel" }?.value
    let channel = try registry.describe(name: name, arn: nil)
    let viewersMax = configuration.signaling.viewersMax
    guard hub.presence(ofChannel: channel.arn).viewerCount < viewersMax else {
      throw KinesisVideoError(
        .clientLimitExceeded, "The channel has \(viewersMax) viewers, which is the limit.")
    }
    let clientID = "viewer-" + Self.hexadecimal(random.bytes(8))
    guard let endpoint = ServiceURL(endpoint(.viewer, of: channel.arn, host: host)) else {
      throw KinesisVideoError(.invalidArgument, "The Host header cannot be used in an address.")
    }
    let url = SignatureV4.presignedURL(
      endpoint, parameters: [("X-Amz-ChannelARN", channel.arn), ("X-Amz-ClientId", clientID)],
      credentials: configuration.credentials, region: configuration.region, expiresSeconds: 299,
      at: now.unixTime)
    let servers = iceServers(forChannel: channel.arn, host: host, at: now).map {
      PageShapes.ICEServer(urls: $0.uris, username: $0.username, credential: $0.password)
    }
    return ServiceJSON.encode(
      PageShapes.Connection(
        channelARN: channel.arn, clientId: clientID, url: url.unredacted, iceServers: servers))
  }
}

/// The bodies of the viewer page's API.
enum PageShapes {
  struct ChannelList: Encodable {
    let channels: [Channel]
  }

  struct Channel: Encodable {
    let name: String
    let status: String
    let hasMaster: Bool
    let viewerCount: Int
    let maxViewers: Int
  }

  /// A relay in the form that `RTCPeerConnection` takes.
  struct ICEServer: Encodable {
    let urls: [String]
    let username: String?
    let credential: String?
  }

  struct Connection: Encodable {
    let channelARN: String
    let clientId: String
    let url: String
    let iceServers: [ICEServer]
  }
}

extension ServiceTime {
  /// The wall clock in the service's whole seconds.
  var unixTime: UnixTime { UnixTime(seconds: unixMilliseconds / 1000) }
}
