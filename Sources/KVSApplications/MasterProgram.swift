// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
public import Logging
import MediaFiles
import WebRTC

/// The flags of `kvs-webrtc master` as they were typed.
public struct MasterFlags: Sendable {
  var service: ServiceFlags
  var createChannel: Bool
  var video: String?
  var audio: String?
  var framesPerSecond: String?
  var maxViewers: String?
  var metrics: Bool
  var readyFile: String?
  var data: DataFlags
  var network: NetworkFlags

  /// Carries flags as they were typed.
  public init(
    service: ServiceFlags = ServiceFlags(), createChannel: Bool = false, video: String? = nil,
    audio: String? = nil, framesPerSecond: String? = nil, maxViewers: String? = nil, metrics: Bool = false,
    readyFile: String? = nil, data: DataFlags = DataFlags(), network: NetworkFlags = NetworkFlags()
  ) {
    self.service = service
    self.createChannel = createChannel
    self.video = video
    self.audio = audio
    self.framesPerSecond = framesPerSecond
    self.maxViewers = maxViewers
    self.metrics = metrics
    self.readyFile = readyFile
    self.data = data
    self.network = network
  }
}

/// `kvs-webrtc master`: a clip for every viewer of a channel.
public struct MasterProgram: Program {
  private let application: MasterApplication

  /// Reads and checks all settings and files.
  ///
  /// - Throws: ``UsageError``.
  public init(flags: MasterFlags, settings: Settings, logger: Logger) async throws {
    // What was given wrongly is told before what is missing.
    let viewersMax = try settings.number(.maxViewers, flag: flags.maxViewers, in: 1...1000, default: 10)
    var signaling = try SignalingClient.Configuration(flags.service, settings, role: .master)
    signaling.createChannelIfMissing = try settings.isOn(.createChannel, flag: flags.createChannel)
    var network = try NetworkLoop.Configuration(
      flags.network, settings, includesLoopback: signaling.isLocal)
    network.proxy = signaling.proxy
    let clip = try ClipLoader.load(settings, flags: flags, logger: logger)
    let readyFile = settings.text(.readyFile, flag: flags.readyFile)
    let printsMetrics = try settings.isOn(.metrics, flag: flags.metrics)
    let channel = signaling.channelName
    application = MasterApplication(
      configuration: MasterApplication.Configuration(
        signaling: signaling, clip: clip, viewersMax: viewersMax,
        dataChannels: try DataChannelPolicy(flags.data, settings), network: network),
      logger: logger,
      onViewerEnd: { if printsMetrics { Console.print($1.text(ofViewer: $0)) } },
      onConnected: {
        guard let readyFile else { return }
        try ReadyFile.write(["channel": channel, "state": "connected"], to: readyFile)
      })
  }

  /// Serves until the task is cancelled.
  public func run() async throws { try await application.run() }
}
