// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import SansIO

/// The operations that the stand-in has, by their paths.
enum ControlPlaneOperation: String {
  case createSignalingChannel = "/createSignalingChannel"
  case describeSignalingChannel = "/describeSignalingChannel"
  case listSignalingChannels = "/listSignalingChannels"
  case updateSignalingChannel = "/updateSignalingChannel"
  case deleteSignalingChannel = "/deleteSignalingChannel"
  case getSignalingChannelEndpoint = "/getSignalingChannelEndpoint"
  case tagResource = "/TagResource"
  case untagResource = "/UntagResource"
  case listTagsForResource = "/ListTagsForResource"
  case getIceServerConfig = "/v1/get-ice-server-config"

  init?(path: String) { self.init(rawValue: path) }
}

extension LocalService {
  /// Runs one operation, after the request's signature was found right.
  mutating func perform(
    _ operation: ControlPlaneOperation, body: [UInt8], host: HostHeader, at now: ServiceTime
  ) throws(KinesisVideoError) -> [UInt8] {
    switch operation {
    case .createSignalingChannel: try createSignalingChannel(body, at: now)
    case .describeSignalingChannel: try describeSignalingChannel(body)
    case .listSignalingChannels: try listSignalingChannels(body)
    case .updateSignalingChannel: try updateSignalingChannel(body)
    case .deleteSignalingChannel: try deleteSignalingChannel(body)
    case .getSignalingChannelEndpoint: try getSignalingChannelEndpoint(body, host: host)
    case .tagResource: try tagResource(body)
    case .untagResource: try untagResource(body)
    case .listTagsForResource: try listTagsForResource(body)
    case .getIceServerConfig: try getIceServerConfig(body, host: host, at: now)
    }
  }

  private var emptyAnswer: [UInt8] { ServiceJSON.encode(ControlPlaneShapes.Empty()) }

  private mutating func createSignalingChannel(
    _ body: [UInt8], at now: ServiceTime
  ) throws(KinesisVideoError) -> [UInt8] {
    let request = try ServiceJSON.decode(KinesisVideoShapes.CreateSignalingChannelRequest.self, from: body)
    let channel = try registry.create(
      name: request.channelName, type: request.channelType,
      messageTTLSeconds: request.singleMasterConfiguration?.messageTtlSeconds,
      tags: (request.tags ?? []).map { ($0.key, $0.value) }, atUnixMilliseconds: now.unixMilliseconds)
    return ServiceJSON.encode(KinesisVideoShapes.CreateSignalingChannelResponse(channelARN: channel.arn))
  }

  private func describeSignalingChannel(_ body: [UInt8]) throws(KinesisVideoError) -> [UInt8] {
    let request = try ServiceJSON.decode(KinesisVideoShapes.DescribeSignalingChannelRequest.self, from: body)
    let channel = try registry.describe(name: request.channelName, arn: request.channelARN)
    return ServiceJSON.encode(
      KinesisVideoShapes.DescribeSignalingChannelResponse(channelInfo: Self.info(channel)))
  }

  private static func info(_ channel: SignalingChannel) -> KinesisVideoShapes.ChannelInfo {
    KinesisVideoShapes.ChannelInfo(
      channelName: channel.name, channelARN: channel.arn, channelType: "SINGLE_MASTER",
      channelStatus: "ACTIVE", creationTime: Double(channel.creationMilliseconds) / 1000,
      singleMasterConfiguration: .init(messageTtlSeconds: channel.messageTTLSeconds), version: channel.version
    )
  }

  private func listSignalingChannels(_ body: [UInt8]) throws(KinesisVideoError) -> [UInt8] {
    let request = try ServiceJSON.decode(ControlPlaneShapes.ListSignalingChannelsRequest.self, from: body)
    var prefix: String?
    if let condition = request.ChannelNameCondition {
      guard condition.ComparisonOperator ?? "BEGINS_WITH" == "BEGINS_WITH" else {
        throw KinesisVideoError(.invalidArgument, "ComparisonOperator must be BEGINS_WITH.")
      }
      prefix = condition.ComparisonValue
    }
    let page = try registry.list(
      maxResults: request.MaxResults, nextToken: request.NextToken, namePrefix: prefix)
    return ServiceJSON.encode(
      ControlPlaneShapes.ListSignalingChannelsResponse(
        ChannelInfoList: page.channels.map(Self.info), NextToken: page.nextToken))
  }

  private mutating func updateSignalingChannel(_ body: [UInt8]) throws(KinesisVideoError) -> [UInt8] {
    let request = try ServiceJSON.decode(ControlPlaneShapes.UpdateSignalingChannelRequest.self, from: body)
    let channel = try registry.update(
      arn: request.ChannelARN, currentVersion: request.CurrentVersion,
      messageTTLSeconds: request.SingleMasterConfiguration?.messageTtlSeconds)
    hub.setMessageTTL(seconds: channel.messageTTLSeconds, ofChannel: channel.arn)
    return emptyAnswer
  }

  private mutating func deleteSignalingChannel(_ body: [UInt8]) throws(KinesisVideoError) -> [UInt8] {
    let request = try ServiceJSON.decode(KinesisVideoShapes.DeleteSignalingChannelRequest.self, from: body)
    try registry.delete(arn: request.channelARN, currentVersion: request.currentVersion)
    hub.removeChannel(request.channelARN)
    return emptyAnswer
  }

  private mutating func tagResource(_ body: [UInt8]) throws(KinesisVideoError) -> [UInt8] {
    let request = try ServiceJSON.decode(ControlPlaneShapes.TagResourceRequest.self, from: body)
    try registry.tag(arn: request.ResourceARN, tags: request.Tags.map { ($0.key, $0.value) })
    return emptyAnswer
  }

  private mutating func untagResource(_ body: [UInt8]) throws(KinesisVideoError) -> [UInt8] {
    let request = try ServiceJSON.decode(ControlPlaneShapes.UntagResourceRequest.self, from: body)
    try registry.untag(arn: request.ResourceARN, keys: request.TagKeyList)
    return emptyAnswer
  }

  private func listTagsForResource(_ body: [UInt8]) throws(KinesisVideoError) -> [UInt8] {
    let request = try ServiceJSON.decode(ControlPlaneShapes.ListTagsForResourceRequest.self, from: body)
    guard request.NextToken?.isEmpty ?? true else {
      throw KinesisVideoError(.invalidArgument, "NextToken is not one of this listing.")
    }
    let channel = try registry.channel(arn: request.ResourceARN)
    return ServiceJSON.encode(ControlPlaneShapes.ListTagsForResourceResponse(Tags: channel.tags))
  }

  private func getIceServerConfig(
    _ body: [UInt8], host: HostHeader, at now: ServiceTime
  ) throws(KinesisVideoError) -> [UInt8] {
    let request = try ServiceJSON.decode(KinesisVideoShapes.GetIceServerConfigRequest.self, from: body)
    let channel = try registry.channel(arn: request.channelARN)
    for name in [request.clientID, request.username].compactMap({ $0 }) {
      guard SignalingMessage.isIdentifier(name) else {
        throw KinesisVideoError(
          .invalidArgument,
          "ClientId and Username have 1 to 256 characters of a-z, A-Z, 0-9, '_', '.' and '-'.")
      }
    }
    guard request.service ?? "TURN" == "TURN" else {
      throw KinesisVideoError(.invalidArgument, "Service must be TURN.")
    }
    return ServiceJSON.encode(
      KinesisVideoShapes.GetIceServerConfigResponse(
        iceServerList: iceServers(forChannel: channel.arn, host: host, at: now)))
  }

  // MARK: endpoints

  /// The two sides of a channel's WebSocket endpoint.
  enum EndpointRole: String {
    case master = "MASTER"
    case viewer = "VIEWER"

    /// The path that tells the roles apart; the service uses host names.
    var pathPrefix: String { self == .master ? "/m/" : "/v/" }
  }

  private func getSignalingChannelEndpoint(
    _ body: [UInt8], host: HostHeader
  ) throws(KinesisVideoError) -> [UInt8] {
    let request = try ServiceJSON.decode(
      KinesisVideoShapes.GetSignalingChannelEndpointRequest.self, from: body)
    let channel = try registry.channel(arn: request.channelARN)
    let protocols = request.configuration?.protocols ?? ["WSS", "HTTPS"]
    guard (1...5).contains(protocols.count) else {
      throw KinesisVideoError(.invalidArgument, "Protocols must have 1 to 5 entries.")
    }
    guard let role = EndpointRole(rawValue: request.configuration?.role ?? EndpointRole.viewer.rawValue)
    else {
      throw KinesisVideoError(.invalidArgument, "Role must be MASTER or VIEWER.")
    }
    var endpoints: [KinesisVideoShapes.ResourceEndpoint] = []
    for name in protocols where !endpoints.contains(where: { $0.protocolName == name }) {
      let address: String
      switch name {
      case "WSS": address = endpoint(role, of: channel.arn, host: host)
      case "HTTPS": address = (configuration.isSecure ? "https://" : "http://") + host.authority
      case "WEBRTC":
        throw KinesisVideoError(.invalidArgument, "The channel is not configured for media storage.")
      default: throw KinesisVideoError(.invalidArgument, "Protocols must be of WSS, HTTPS and WEBRTC.")
      }
      endpoints.append(.init(protocolName: name, resourceEndpoint: address))
    }
    return ServiceJSON.encode(
      KinesisVideoShapes.GetSignalingChannelEndpointResponse(resourceEndpointList: endpoints))
  }

  /// The WebSocket address of a channel and role, on the host that the client asked.
  func endpoint(_ role: EndpointRole, of arn: String, host: HostHeader) -> String {
    (configuration.isSecure ? "wss://" : "ws://") + host.authority + Self.path(role, of: arn)
  }

  /// Eight digits name the channel, as in the service's host names.
  static func path(_ role: EndpointRole, of arn: String) -> String {
    role.pathPrefix + SignatureV4.sha256(Array(arn.utf8)).prefix(8)
  }
}
