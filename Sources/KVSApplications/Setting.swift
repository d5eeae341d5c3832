// SPDX-License-Identifier: Apache-2.0

/// A value that a user may give by flag, by environment variable or in a file of such variables.
///
/// A flag `--max-viewers` is also `KVS_WEBRTC_MAX_VIEWERS`; names that users of other tools know come after it.
public struct Setting: Sendable {
  /// The flag with its dashes.
  public let flag: String
  /// The names of environment variables, the first that is set wins.
  public let environmentNames: [String]
  /// What a value must look like, for error messages.
  public let expectation: String

  /// Describes a setting of the flag `--name`.
  public init(_ name: String, aliases: [String] = [], expects expectation: String) {
    flag = "--" + name
    let own = "KVS_WEBRTC_" + name.uppercased().split(separator: "-").joined(separator: "_")
    environmentNames = [own] + aliases
    self.expectation = expectation
  }
}

extension Setting {
  /// The signaling channel.
  public static let channel = Setting(
    "channel", aliases: ["AWS_KVS_CHANNEL_NAME"], expects: "a channel name: letters, digits and _.-, 1 to 256"
  )
  /// Whether a missing channel is created.
  public static let createChannel = Setting("create-channel", expects: "true or false")
  /// Where the service's control plane is.
  public static let endpointURL = Setting(
    "endpoint-url", aliases: ["AWS_ENDPOINT_URL_KINESIS_VIDEO", "AWS_ENDPOINT_URL", "CONTROL_PLANE_URI"],
    expects: "an http:// or https:// address")
  /// The region.
  public static let region = Setting(
    "region", aliases: ["AWS_REGION", "AWS_DEFAULT_REGION"], expects: "a region such as us-west-2")
  /// The access key.
  public static let accessKey = Setting(
    "access-key", aliases: ["AWS_ACCESS_KEY_ID"], expects: "an access key id")
  /// The secret key.
  public static let secretKey = Setting(
    "secret-key", aliases: ["AWS_SECRET_ACCESS_KEY"], expects: "a secret access key")
  /// The access key that the stand-in accepts: never that of a real account in the environment.
  public static let localAccessKey = Setting("access-key", expects: "an access key id")
  /// The secret key that the stand-in accepts.
  public static let localSecretKey = Setting("secret-key", expects: "a secret access key")
  /// The session token of temporary keys.
  public static let sessionToken = Setting(
    "session-token", aliases: ["AWS_SESSION_TOKEN"], expects: "a session token")
  /// The video file or folder.
  public static let video = Setting(
    "video", expects: "an H.264 Annex-B file or a folder of numbered .h264 frames")
  /// The audio file or folder.
  public static let audio = Setting(
    "audio", expects: "an Ogg Opus file or a folder of numbered .opus packets")
  /// Pictures a second of an Annex-B file.
  public static let framesPerSecond = Setting(
    "fps", expects: "a rate of up to 240, such as 25, 29.97 or 30000/1001")
  /// How many viewers are served at once.
  public static let maxViewers = Setting(
    "max-viewers", aliases: ["AWS_MAX_VIEWER_NUM"], expects: "a whole number from 1 to 1000")
  /// Whether the durations of each connection are printed.
  public static let metrics = Setting("metrics", aliases: ["METRIC_PRINT_ENABLED"], expects: "true or false")
  /// How much is logged.
  public static let logLevel = Setting(
    "log-level", aliases: ["AWS_KVS_LOG_LEVEL"],
    expects: "trace, debug, info, notice, warning, error, critical, or 1 (verbose) to 7 (silent)")
  /// Where the "ready" note goes.
  public static let readyFile = Setting("ready-file", expects: "a path")
  /// The address that a server listens on.
  public static let host = Setting("host", expects: "an address of this host, or 0.0.0.0 for all")
  /// The port that a server listens on.
  public static let port = Setting("port", expects: "a port from 0 to 65535; 0 picks a free one")
  /// The port of the stand-in's TURN server for UDP and TCP.
  public static let turnPort = Setting("turn-port", expects: "a port from 0 to 65535; 0 picks a free one")
  /// The port of the stand-in's TURN server for TLS.
  public static let turnTLSPort = Setting(
    "turn-tls-port", expects: "a port from 0 to 65535; 0 picks a free one")
  /// STUN and TURN servers of others that the stand-in names.
  public static let iceServer = Setting(
    "ice-server", expects: "stun:HOST:PORT, or turn:HOST:PORT?transport=udp,USER,PASSWORD")
  /// Whether the stand-in goes without a TURN server.
  public static let noTURN = Setting("no-turn", expects: "true or false")
  /// The addresses that relays are bound to.
  public static let turnRelayAddress = Setting(
    "turn-relay-address", expects: "an address of this host, or one of each family with a comma between")
  /// Networks that the stand-in relays to although it would refuse them.
  public static let allowPeer = Setting(
    "allow-peer", expects: "networks such as 192.168.1.0/24, with commas between")
  /// The addresses by which others reach this host behind a NAT that forwards to it.
  public static let advertiseAddress = Setting(
    "advertise-address", expects: "an IP address, or several with commas between")
  /// The UDP ports that media may use on this host.
  public static let udpPort = Setting("udp-port", expects: "a port, or a range such as 50000-50100")
  /// Which ways media may take.
  public static let icePolicy = Setting("ice-policy", expects: "all or relay")
  /// How many relays are kept ready for viewers to come.
  public static let relaySpare = Setting("relay-spare", expects: "a whole number from 0 to 4")
  /// The authority that relays over TLS are verified by, in place of the system's.
  public static let caFile = Setting(
    "ca-file", aliases: ["AWS_KVS_CACERT_PATH"], expects: "a file of PEM certificates")
  /// Whether a master gives all messages back.
  public static let dataEcho = Setting("data-echo", expects: "true or false")
  /// Whether a master refuses data channels.
  public static let noDataChannels = Setting("no-data-channels", expects: "true or false")
  /// The same from the other side, by the names that the C applications know.
  public static let dataChannels = Setting(
    "data-channels", aliases: ["ENABLE_DATA_CHANNEL", "ENABLE_SCTP_DATA_CHANNEL"], expects: "true or false")
  /// Whether a viewer sends its standard input.
  public static let channelIn = Setting("channel-in", expects: "true or false")
  /// Whether a viewer writes what comes to its standard output.
  public static let channelOut = Setting("channel-out", expects: "true or false")
  /// The label of a viewer's data channel.
  public static let dataLabel = Setting("data-label", expects: "a name of at most 255 bytes")
  /// Whether a viewer sends bytes as they come instead of lines.
  public static let binary = Setting("binary", expects: "true or false")
  /// How long a viewer waits for messages after the end of its input.
  public static let linger = Setting("linger", expects: "seconds from 0 to 3600, such as 2 or 0.5")
  /// How long a viewer waits for its connection.
  public static let timeout = Setting("timeout", expects: "whole seconds from 1 to 3600")
  /// A viewer's name in the channel.
  public static let clientID = Setting(
    "client-id",
    expects: "a name that does not begin with AWS_: letters, digits and _.-, 1 to 256")
  /// Where the stand-in keeps its channels.
  public static let dataDirectory = Setting("data-dir", expects: "a folder")
}

/// A mistake on the command line, in the environment or in a file: one sentence, exit code 64 (EX_USAGE).
public struct UsageError: Error, CustomStringConvertible, Sendable {
  /// What is wrong and what is expected.
  public let description: String

  /// Makes an error of one sentence.
  public init(_ description: String) { self.description = description }

  /// A setting that is needed and was not given.
  public static func missing(_ setting: Setting) -> UsageError {
    UsageError(
      "\(setting.flag) (or \(setting.environmentNames.joined(separator: " or "))) is missing: "
        + "give \(setting.expectation)")
  }

  /// A setting whose value cannot be used.
  public static func invalid(_ setting: Setting, origin: String) -> UsageError {
    UsageError("\(origin) is not valid: expected \(setting.expectation)")
  }
}
