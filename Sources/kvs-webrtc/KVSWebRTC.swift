// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import KVSApplications

/// The one program of the project; its subcommands are what one can do with it.
@main
struct KVSWebRTC: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kvs-webrtc",
    abstract: "Cameras of Linux devices in people's browsers, through Amazon Kinesis Video Streams.",
    discussion: """
      Every option may also be given by an environment variable (--max-viewers is KVS_WEBRTC_MAX_VIEWERS) or by
      the same line in a file that --config names. The usual AWS variables work: AWS_ACCESS_KEY_ID,
      AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL, AWS_KVS_CHANNEL_NAME.

      Begin with: kvs-webrtc demo
      """,
    version: ProgramVersion.current,
    subcommands: [DemoCommand.self, LocalCommand.self, MasterCommand.self, ViewerCommand.self])
}

/// What every subcommand takes.
struct CommonOptions: ParsableArguments {
  @Option(help: "A file of NAME=value lines, read after flags and environment.")
  var config: String?

  @Option(help: "trace, debug, info, notice, warning, error or critical. (default: info)")
  var logLevel: String?

  @Option(help: "Write a small JSON file here once the program is ready.")
  var readyFile: String?

  var flags: CommonFlags { CommonFlags(config: config, logLevel: logLevel, readyFile: readyFile) }
}

/// What the commands with a stand-in take for its TURN server.
struct RelayOptions: ParsableArguments {
  @Option(help: "The TURN server's port for UDP and TCP; 0 picks a free one. (default: 3478 if it is free)")
  var turnPort: String?

  @Option(help: "The TURN server's port for TLS; 0 picks a free one. (default: 5349 if it is free)")
  var turnTlsPort: String?

  @Flag(help: "Have no TURN server.")
  var noTurn = false

  @Option(help: "The address that relays are bound to. (default: that of --host)")
  var turnRelayAddress: String?

  @Option(help: "Relay to this network although it is private, 192.168.1.0/24 for example; repeatable.")
  var allowPeer: [String] = []

  @Option(
    help:
      "Name this server to clients as well: stun:HOST:PORT, or turn:HOST:PORT?transport=udp,USER,PASSWORD; repeatable."
  )
  var iceServer: [String] = []

  func flags(advertiseAddress: String?) -> RelayFlags {
    RelayFlags(
      turnPort: turnPort, turnTLSPort: turnTlsPort, noTURN: noTurn, relayAddress: turnRelayAddress,
      allowPeers: allowPeer, advertiseAddress: advertiseAddress, iceServers: iceServer)
  }
}

/// What the commands with a camera take for its network.
struct NetworkOptions: ParsableArguments {
  @Option(help: "The UDP ports that media may use, 50000-50100 for example. (default: any)")
  var udpPort: String?

  @Option(help: "Which ways media may take: all, or relay for relays alone. (default: all)")
  var icePolicy: String?

  @Option(help: "Relays that are kept ready for viewers to come, 0 to 4. (default: 1)")
  var relaySpare: String?

  func flags(advertiseAddress: String?, caFile: String? = nil) -> NetworkFlags {
    NetworkFlags(
      udpPorts: udpPort, advertiseAddress: advertiseAddress, icePolicy: icePolicy, relaySpare: relaySpare,
      caFile: caFile)
  }
}

/// What the commands that join a signaling channel take.
struct ServiceOptions: ParsableArguments {
  @Option(help: "The signaling channel (also AWS_KVS_CHANNEL_NAME).")
  var channel: String?

  @Option(help: "The service's address, for example that of a local stand-in (also AWS_ENDPOINT_URL).")
  var endpointUrl: String?

  @Option(help: "The region (also AWS_REGION). (default: us-west-2)")
  var region: String?

  @Option(help: "The access key; better given as AWS_ACCESS_KEY_ID.")
  var accessKey: String?

  @Option(help: "The secret key; better given as AWS_SECRET_ACCESS_KEY, which other users cannot see.")
  var secretKey: String?

  @Option(help: "The session token of temporary keys; better given as AWS_SESSION_TOKEN.")
  var sessionToken: String?

  @Option(
    help:
      "Verify the service and relays over TLS by the certificates in this file (also AWS_KVS_CACERT_PATH).")
  var caFile: String?

  var flags: ServiceFlags {
    ServiceFlags(
      channel: channel, endpointURL: endpointUrl, region: region, accessKey: accessKey, secretKey: secretKey,
      sessionToken: sessionToken, caFile: caFile)
  }
}

/// What the commands with a camera take for viewers' data channels.
struct DataOptions: ParsableArguments {
  @Flag(help: "Give every message of a data channel back as it came, instead of answering texts.")
  var dataEcho = false

  @Flag(help: "Refuse viewers' data channels.")
  var noDataChannels = false

  var flags: DataFlags { DataFlags(echo: dataEcho, noDataChannels: noDataChannels) }
}

struct DemoCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo", abstract: "Everything at once: a local service, a camera that plays a clip, a page.",
    version: ProgramVersion.current)

  @Option(help: "The address to listen on; 0.0.0.0 lets phones on the network watch. (default: 127.0.0.1)")
  var host: String?

  @Option(help: "The port of page and service; 0 picks a free one. (default: 8080)")
  var port: String?

  @Option(help: "Viewers served at once. (default: 10)")
  var maxViewers: String?

  @Flag(help: "Print the durations of each connection's steps when it ends.")
  var metrics = false

  @Option(help: "Tell others this address instead of the host's own, behind a NAT that forwards to it.")
  var advertiseAddress: String?

  @OptionGroup var data: DataOptions

  @OptionGroup var network: NetworkOptions

  @OptionGroup var relay: RelayOptions

  @OptionGroup var common: CommonOptions

  func run() async throws {
    await ProgramRunner.run(flags: common.flags) { settings, logger in
      try await DemoProgram(
        flags: DemoFlags(
          host: host, port: port, maxViewers: maxViewers, metrics: metrics, readyFile: common.readyFile,
          data: data.flags, relay: relay.flags(advertiseAddress: advertiseAddress),
          network: network.flags(advertiseAddress: advertiseAddress)),
        settings: settings, logger: logger)
    }
  }
}

struct LocalCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "local", abstract: "A local stand-in of the Kinesis Video service, with a viewer page.",
    version: ProgramVersion.current)

  @Option(help: "The address to listen on. (default: 127.0.0.1)")
  var host: String?

  @Option(help: "The port; 0 picks a free one. (default: 8080)")
  var port: String?

  @Option(help: "Keep channels in this folder over restarts. (default: in memory)")
  var dataDir: String?

  @Option(help: "The region that the stand-in plays. (default: us-west-2)")
  var region: String?

  @Option(help: "The access key that it accepts. (default: local)")
  var accessKey: String?

  @Option(help: "The secret key that it accepts. (default: local-secret)")
  var secretKey: String?

  @Option(help: "Tell others this address instead of the host's own, behind a NAT that forwards to it.")
  var advertiseAddress: String?

  @OptionGroup var relay: RelayOptions

  @OptionGroup var common: CommonOptions

  func run() async throws {
    await ProgramRunner.run(flags: common.flags) { settings, logger in
      try await LocalProgram(
        flags: LocalFlags(
          host: host, port: port, dataDirectory: dataDir, region: region, accessKey: accessKey,
          secretKey: secretKey, readyFile: common.readyFile,
          relay: relay.flags(advertiseAddress: advertiseAddress)),
        settings: settings, logger: logger)
    }
  }
}

struct MasterCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "master", abstract: "Send a clip to every viewer of a channel, and answer their messages.",
    version: ProgramVersion.current)

  @OptionGroup var service: ServiceOptions

  @Flag(help: "Create the channel when it does not exist.")
  var createChannel = false

  @Option(help: "H.264 in Annex-B, or a folder of numbered .h264 frames. (default: the sample clip)")
  var video: String?

  @Option(help: "Opus in Ogg, or a folder of numbered .opus packets. (default: the sample clip)")
  var audio: String?

  @Option(help: "Pictures a second of --video. (default: 25)")
  var fps: String?

  @Option(help: "Viewers served at once. (default: 10)")
  var maxViewers: String?

  @Flag(help: "Print the durations of each connection's steps when it ends.")
  var metrics = false

  @Option(
    help: "Tell viewers this address as well: that of a NAT which forwards to this host, with the same ports."
  )
  var advertiseAddress: String?

  @OptionGroup var data: DataOptions

  @OptionGroup var network: NetworkOptions

  @OptionGroup var common: CommonOptions

  func run() async throws {
    await ProgramRunner.run(flags: common.flags) { settings, logger in
      try await MasterProgram(
        flags: MasterFlags(
          service: service.flags, createChannel: createChannel, video: video, audio: audio,
          framesPerSecond: fps, maxViewers: maxViewers, metrics: metrics, readyFile: common.readyFile,
          data: data.flags,
          network: network.flags(advertiseAddress: advertiseAddress, caFile: service.caFile)),
        settings: settings, logger: logger)
    }
  }
}

struct ViewerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "viewer",
    abstract: "Bridge standard input and output to a data channel of a master.",
    discussion: """
      Lines of standard input become text messages and text messages become lines of standard output; with --binary,
      bytes go as they come. It takes no picture and no sound.

      With --channel-in alone it ends when all input was delivered, with --channel-out alone when the master closes the
      channel, with both when nothing came for a while after the end of the input.
      """,
    version: ProgramVersion.current)

  @OptionGroup var service: ServiceOptions

  @Flag(help: "Send standard input.")
  var channelIn = false

  @Flag(help: "Write what comes to standard output.")
  var channelOut = false

  @Flag(help: "Send bytes as they come, in messages of at most 16 KiB, instead of lines of text.")
  var binary = false

  @Option(help: "The data channel's label. (default: kvs)")
  var dataLabel: String?

  @Option(
    help: "With both directions: end when it was quiet for so many seconds after the input. (default: 3)")
  var linger: String?

  @Option(help: "Seconds to wait for the master and the connection. (default: 30)")
  var timeout: String?

  @Option(help: "The viewer's name in the channel. (default: a random one)")
  var clientId: String?

  @Option(help: "The UDP ports that may be used, 50000-50100 for example. (default: any)")
  var udpPort: String?

  @Option(help: "Which ways messages may take: all, or relay for relays alone. (default: all)")
  var icePolicy: String?

  @OptionGroup var common: CommonOptions

  func run() async throws {
    await ProgramRunner.run(flags: common.flags) { settings, logger in
      try await ViewerProgram(
        flags: ViewerFlags(
          service: service.flags, channelIn: channelIn, channelOut: channelOut, dataLabel: dataLabel,
          binary: binary, linger: linger, timeout: timeout, clientID: clientId, readyFile: common.readyFile,
          network: NetworkFlags(udpPorts: udpPort, icePolicy: icePolicy, caFile: service.caFile)),
        settings: settings, logger: logger)
    }
  }
}
