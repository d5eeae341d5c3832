// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
public import Logging
import MediaFiles
import SansIO
import WebRTC

/// The flags of `kvs-webrtc master` as they were typed.
public struct MasterFlags: Sendable {
  var channel: String?
  var createChannel = false
  var endpointURL: String?
  var region: String?
  var accessKey: String?
  var secretKey: String?
  var sessionToken: String?
  var video: String?
  var audio: String?
  var framesPerSecond: String?
  var maxViewers: String?
  var metrics = false
  var readyFile: String?
  var network = NetworkFlags()

  /// Carries flags as they were typed.
  public init(
    channel: String?, createChannel: Bool, endpointURL: String?, region: String?, accessKey: String?,
    secretKey: String?, sessionToken: String?, video: String?, audio: String?, framesPerSecond: String?,
    maxViewers: String?, metrics: Bool, readyFile: String?, network: NetworkFlags = NetworkFlags()
  ) {
    self.channel = channel
    self.createChannel = createChannel
    self.endpointURL = endpointURL
    self.region = region
    self.accessKey = accessKey
    self.secretKey = secretKey
    self.sessionToken = sessionToken
    self.video = video
    self.audio = audio
    self.framesPerSecond = framesPerSecond
    self.maxViewers = maxViewers
    self.metrics = metrics
    self.readyFile = readyFile
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
    let channel = try settings.value(.channel, flag: flags.channel) {
      SignalingMessage.isIdentifier($0) ? $0 : nil
    }
    guard let channel else { throw UsageError.missing(.channel) }
    let viewersMax = try settings.number(.maxViewers, flag: flags.maxViewers, in: 1...1000, default: 10)
    let credentials = try Self.credentials(settings, flags: flags)
    var signaling = SignalingClient.Configuration(
      channelName: channel, role: .master,
      region: try settings.value(.region, flag: flags.region, ServiceRegion.init)?.name ?? Self.defaultRegion,
      credentials: credentials)
    signaling.endpointURL = try settings.value(.endpointURL, flag: flags.endpointURL, Self.endpoint)
    signaling.createChannelIfMissing = try settings.isOn(.createChannel, flag: flags.createChannel)
    signaling.certificateAuthorityFile = settings.text(.caFile, flag: flags.network.caFile)
    signaling.proxy = try ProxySettings.current()
    var network = try NetworkLoop.Configuration(
      flags.network, settings, includesLoopback: Self.isLocal(signaling))
    network.proxy = signaling.proxy
    let clip = try ClipLoader.load(settings, flags: flags, logger: logger)
    let readyFile = settings.text(.readyFile, flag: flags.readyFile)
    let printsMetrics = try settings.isOn(.metrics, flag: flags.metrics)
    application = MasterApplication(
      configuration: MasterApplication.Configuration(
        signaling: signaling, clip: clip, viewersMax: viewersMax, network: network),
      logger: logger,
      onViewerEnd: { if printsMetrics { Console.print($1.text(ofViewer: $0)) } },
      onConnected: {
        guard let readyFile else { return }
        try ReadyFile.write(["channel": channel, "state": "connected"], to: readyFile)
      })
  }

  /// Serves until the task is cancelled.
  public func run() async throws { try await application.run() }

  /// The C SDK's default region.
  static let defaultRegion = "us-west-2"

  static func credentials(
    _ settings: Settings, flags: MasterFlags
  ) throws(UsageError) -> AWSCredentials {
    AWSCredentials(
      accessKeyID: try settings.requiredText(.accessKey, flag: flags.accessKey),
      secretAccessKey: Secret(try settings.requiredText(.secretKey, flag: flags.secretKey)),
      sessionToken: settings.text(.sessionToken, flag: flags.sessionToken).map { Secret($0) })
  }

  private static func endpoint(_ text: String) -> String? {
    guard let url = ServiceURL(text), ["http", "https"].contains(url.scheme), url.query == nil else {
      return nil
    }
    return text
  }

  /// A master of a stand-in on this host serves viewers on this host: browsers without any network reach it by
  /// loopback only.
  private static func isLocal(_ signaling: SignalingClient.Configuration) -> Bool {
    let host = signaling.endpointURL.flatMap { ServiceURL($0) }?.host
    return host.map { $0 == "localhost" || IPAddress($0)?.isLoopback == true } ?? false
  }
}
