// SPDX-License-Identifier: Apache-2.0

/// The bodies of the service's REST calls, for both sides; names of members are the service's own.
///
/// Requests name what the client sends; of responses only what is used must be there.
public enum KinesisVideoShapes {
  /// `POST /describeSignalingChannel`, by name or by ARN.
  public struct DescribeSignalingChannelRequest: Codable, Hashable, Sendable {
    /// The channel's name.
    public var channelName: String?
    /// The channel's ARN.
    public var channelARN: String?

    /// Asks by one of the two.
    public init(channelName: String? = nil, channelARN: String? = nil) {
      self.channelName = channelName
      self.channelARN = channelARN
    }

    enum CodingKeys: String, CodingKey {
      case channelName = "ChannelName"
      case channelARN = "ChannelARN"
    }
  }

  /// The answer to a description.
  public struct DescribeSignalingChannelResponse: Codable, Hashable, Sendable {
    /// The channel.
    public var channelInfo: ChannelInfo

    /// Wraps the channel.
    public init(channelInfo: ChannelInfo) { self.channelInfo = channelInfo }

    enum CodingKeys: String, CodingKey { case channelInfo = "ChannelInfo" }
  }

  /// `POST /createSignalingChannel`.
  public struct CreateSignalingChannelRequest: Codable, Hashable, Sendable {
    /// The channel's name, unique in account and region.
    public var channelName: String
    /// `SINGLE_MASTER`, the default and the only one that the service supports.
    public var channelType: String?
    /// How long undelivered messages live.
    public var singleMasterConfiguration: SingleMasterConfiguration?
    /// Labels.
    public var tags: [Tag]?

    /// Joins the parts.
    public init(
      channelName: String, channelType: String? = nil,
      singleMasterConfiguration: SingleMasterConfiguration? = nil, tags: [Tag]? = nil
    ) {
      self.channelName = channelName
      self.channelType = channelType
      self.singleMasterConfiguration = singleMasterConfiguration
      self.tags = tags
    }

    enum CodingKeys: String, CodingKey {
      case channelName = "ChannelName"
      case channelType = "ChannelType"
      case singleMasterConfiguration = "SingleMasterConfiguration"
      case tags = "Tags"
    }
  }

  /// The answer to a creation; the channel is not ready yet.
  public struct CreateSignalingChannelResponse: Codable, Hashable, Sendable {
    /// The channel's ARN.
    public var channelARN: String

    /// Wraps the ARN.
    public init(channelARN: String) { self.channelARN = channelARN }

    enum CodingKeys: String, CodingKey { case channelARN = "ChannelARN" }
  }

  /// `POST /deleteSignalingChannel`.
  public struct DeleteSignalingChannelRequest: Codable, Hashable, Sendable {
    /// The channel's ARN.
    public var channelARN: String
    /// The version that the caller saw; `nil` for whichever it is.
    public var currentVersion: String?

    /// Joins the parts.
    public init(channelARN: String, currentVersion: String? = nil) {
      self.channelARN = channelARN
      self.currentVersion = currentVersion
    }

    enum CodingKeys: String, CodingKey {
      case channelARN = "ChannelARN"
      case currentVersion = "CurrentVersion"
    }
  }

  /// `POST /getSignalingChannelEndpoint`.
  public struct GetSignalingChannelEndpointRequest: Codable, Hashable, Sendable {
    /// The channel's ARN.
    public var channelARN: String
    /// Which endpoints, for whom.
    public var configuration: EndpointConfiguration?

    /// Joins the parts.
    public init(channelARN: String, configuration: EndpointConfiguration?) {
      self.channelARN = channelARN
      self.configuration = configuration
    }

    enum CodingKeys: String, CodingKey {
      case channelARN = "ChannelARN"
      case configuration = "SingleMasterChannelEndpointConfiguration"
    }
  }

  /// The answer with endpoints.
  public struct GetSignalingChannelEndpointResponse: Codable, Hashable, Sendable {
    /// One entry for each protocol asked for.
    public var resourceEndpointList: [ResourceEndpoint]

    /// Wraps the list.
    public init(resourceEndpointList: [ResourceEndpoint]) { self.resourceEndpointList = resourceEndpointList }

    enum CodingKeys: String, CodingKey { case resourceEndpointList = "ResourceEndpointList" }
  }

  /// `POST /v1/get-ice-server-config` on the channel's HTTPS endpoint.
  public struct GetIceServerConfigRequest: Codable, Hashable, Sendable {
    /// The channel's ARN.
    public var channelARN: String
    /// The viewer's identifier.
    public var clientID: String?
    /// `TURN`.
    public var service: String?
    /// A name to put in the credentials; unused.
    public var username: String?

    /// Joins the parts.
    public init(
      channelARN: String, clientID: String? = nil, service: String? = "TURN", username: String? = nil
    ) {
      self.channelARN = channelARN
      self.clientID = clientID
      self.service = service
      self.username = username
    }

    enum CodingKeys: String, CodingKey {
      case channelARN = "ChannelARN"
      case clientID = "ClientId"
      case service = "Service"
      case username = "Username"
    }
  }

  /// The answer with relays; secrets are in clear here, see ``ICEServer`` for what the client hands out.
  public struct GetIceServerConfigResponse: Codable, Sendable {
    /// Usually two relays.
    public var iceServerList: [ICEServerEntry]

    /// Wraps the list.
    public init(iceServerList: [ICEServerEntry]) { self.iceServerList = iceServerList }

    enum CodingKeys: String, CodingKey { case iceServerList = "IceServerList" }
  }
}

extension KinesisVideoShapes {
  /// A channel.
  public struct ChannelInfo: Codable, Hashable, Sendable {
    /// The name.
    public var channelName: String?
    /// The ARN, `arn:aws:kinesisvideo:<region>:<account>:channel/<name>/<creation time>`.
    public var channelARN: String
    /// `SINGLE_MASTER` or `FULL_MESH`.
    public var channelType: String?
    /// `CREATING`, `ACTIVE`, `UPDATING` or `DELETING`.
    public var channelStatus: String?
    /// Seconds since 1970.
    public var creationTime: Double?
    /// How long undelivered messages live.
    public var singleMasterConfiguration: SingleMasterConfiguration?
    /// Changes with each update.
    public var version: String?

    /// Joins the parts.
    public init(
      channelName: String?, channelARN: String, channelType: String? = "SINGLE_MASTER",
      channelStatus: String? = "ACTIVE", creationTime: Double? = nil,
      singleMasterConfiguration: SingleMasterConfiguration? = nil, version: String? = nil
    ) {
      self.channelName = channelName
      self.channelARN = channelARN
      self.channelType = channelType
      self.channelStatus = channelStatus
      self.creationTime = creationTime
      self.singleMasterConfiguration = singleMasterConfiguration
      self.version = version
    }

    enum CodingKeys: String, CodingKey {
      case channelName = "ChannelName"
      case channelARN = "ChannelARN"
      case channelType = "ChannelType"
      case channelStatus = "ChannelStatus"
      case creationTime = "CreationTime"
      case singleMasterConfiguration = "SingleMasterConfiguration"
      case version = "Version"
    }
  }

  /// How long undelivered messages live.
  public struct SingleMasterConfiguration: Codable, Hashable, Sendable {
    /// 5 to 120 seconds, by default 60.
    public var messageTtlSeconds: Int?

    /// Wraps the seconds.
    public init(messageTtlSeconds: Int?) { self.messageTtlSeconds = messageTtlSeconds }

    enum CodingKeys: String, CodingKey { case messageTtlSeconds = "MessageTtlSeconds" }
  }

  /// A label.
  public struct Tag: Codable, Hashable, Sendable {
    /// Its name.
    public var key: String
    /// Its value.
    public var value: String

    /// Joins the parts.
    public init(key: String, value: String) {
      self.key = key
      self.value = value
    }

    enum CodingKeys: String, CodingKey {
      case key = "Key"
      case value = "Value"
    }
  }

  /// Which endpoints, for whom.
  public struct EndpointConfiguration: Codable, Hashable, Sendable {
    /// Some of `WSS`, `HTTPS` and `WEBRTC`.
    public var protocols: [String]?
    /// `MASTER` or `VIEWER`.
    public var role: String?

    /// Joins the parts.
    public init(protocols: [String]?, role: String?) {
      self.protocols = protocols
      self.role = role
    }

    enum CodingKeys: String, CodingKey {
      case protocols = "Protocols"
      case role = "Role"
    }
  }

  /// One endpoint.
  public struct ResourceEndpoint: Codable, Hashable, Sendable {
    /// `WSS`, `HTTPS` or `WEBRTC`.
    public var protocolName: String
    /// The address, without path and query.
    public var resourceEndpoint: String

    /// Joins the parts.
    public init(protocolName: String, resourceEndpoint: String) {
      self.protocolName = protocolName
      self.resourceEndpoint = resourceEndpoint
    }

    enum CodingKeys: String, CodingKey {
      case protocolName = "Protocol"
      case resourceEndpoint = "ResourceEndpoint"
    }
  }

  /// One relay as it is on the wire.
  public struct ICEServerEntry: Codable, Sendable {
    /// Up to three addresses.
    public var uris: [String]
    /// The user name.
    public var username: String?
    /// The password, in clear.
    public var password: String?
    /// Seconds that the credentials are good for.
    public var ttl: Int?

    /// Joins the parts.
    public init(uris: [String], username: String?, password: String?, ttl: Int?) {
      self.uris = uris
      self.username = username
      self.password = password
      self.ttl = ttl
    }

    enum CodingKeys: String, CodingKey {
      case uris = "Uris"
      case username = "Username"
      case password = "Password"
      case ttl = "Ttl"
    }
  }
}

extension KinesisVideoShapes.ICEServerEntry: CustomStringConvertible, CustomDebugStringConvertible,
  CustomReflectable
{
  /// The addresses alone.
  public var description: String { "ICEServerEntry(\(uris))" }
  /// The addresses alone.
  public var debugDescription: String { description }
  /// The addresses alone.
  public var customMirror: Mirror { Mirror(self, children: ["uris": uris]) }
}

/// The error body of the service; `message` with a small letter comes from its front end.
public struct ErrorBody: Codable, Hashable, Sendable {
  /// The sentence.
  public var message: String

  /// Wraps the sentence.
  public init(message: String) { self.message = message }

  enum CodingKeys: String, CodingKey { case message = "Message" }
}
