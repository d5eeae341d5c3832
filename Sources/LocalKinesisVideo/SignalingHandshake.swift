// SPDX-License-Identifier: Apache-2.0

public import KinesisVideo
import SansIO

extension LocalService {
  /// Checks the request that opens a WebSocket and registers its connection.
  ///
  /// In the order that clients may rely on: the form of the handshake, the signature, the parameters, the channel, the
  /// limits. The connection counts from here on, before the answer is written; whoever drives the service says
  /// ``SignalingHub/disconnect(_:)`` when the socket ends, also when the upgrade fails.
  ///
  /// - Throws: What to answer instead of 101.
  public mutating func connect(
    _ request: ServiceRequest, at now: ServiceTime
  ) throws(KinesisVideoError) -> SignalingConnectionID {
    guard let host = request.onlyHeader("host").flatMap(HostHeader.init(parsing:)) else {
      throw KinesisVideoError(.invalidArgument, "The request needs one valid Host header.")
    }
    try Self.checkHandshake(request)
    let target = request.target.unredacted
    let parameters = try verifier.verifyPresigned(target: target, host: host.authority, at: now.unixTime)
    guard let arn = parameters["X-Amz-ChannelARN"], ChannelARN(parsing: arn) != nil else {
      throw KinesisVideoError(.invalidArgument, "X-Amz-ChannelARN is missing or malformed.")
    }
    let role = try Self.role(path: request.path, clientID: parameters["X-Amz-ClientId"], arn: arn)
    let channel = try registry.channel(arn: arn)
    return try hub.connect(
      role, channelARN: channel.arn, messageTTLSeconds: channel.messageTTLSeconds, at: now.instant)
  }

  /// Master or viewer, by the endpoint's path; on other paths by whether there is a client id, as the service's own
  /// endpoints have none.
  private static func role(
    path: String, clientID: String?, arn: String
  ) throws(KinesisVideoError) -> SignalingRole {
    let endpointRole: EndpointRole
    if path.hasPrefix(EndpointRole.master.pathPrefix) {
      endpointRole = .master
    } else if path.hasPrefix(EndpointRole.viewer.pathPrefix) {
      endpointRole = .viewer
    } else {
      endpointRole = clientID == nil ? .master : .viewer
    }
    if path.hasPrefix(endpointRole.pathPrefix), path != Self.path(endpointRole, of: arn) {
      throw KinesisVideoError(.invalidArgument, "The endpoint belongs to another channel.")
    }
    guard endpointRole == .viewer else { return .master }
    guard let clientID, SignalingMessage.isViewerIdentifier(clientID) else {
      throw KinesisVideoError(
        .invalidArgument,
        "X-Amz-ClientId must have 1 to 256 characters of a-z, A-Z, 0-9, '_', '.' and '-' and not begin with 'AWS_'."
      )
    }
    return .viewer(clientID: clientID)
  }

  /// The opening handshake's own rules (RFC 6455 §4.2.1).
  private static func checkHandshake(_ request: ServiceRequest) throws(KinesisVideoError) {
    guard request.method == "GET", request.elements(ofHeader: "connection").contains("upgrade") else {
      throw KinesisVideoError(
        .invalidArgument, "A WebSocket is opened by GET with the header 'Connection: Upgrade'.")
    }
    guard request.onlyHeader("sec-websocket-version") == "13" else {
      throw KinesisVideoError(.upgradeRequired, "Only version 13 of WebSocket is spoken here.")
    }
    guard let key = request.onlyHeader("sec-websocket-key"), key.utf8.count == 24, key.hasSuffix("=="),
      key.utf8.dropLast(2).allSatisfy({ ServiceNames.isLetterOrDigit($0) || "+/".utf8.contains($0) })
    else {
      throw KinesisVideoError(.invalidArgument, "Sec-WebSocket-Key must be 16 bytes as base64.")
    }
  }
}
