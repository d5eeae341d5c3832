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

  /// Carries flags as they were typed.
  public init(
    channel: String?, createChannel: Bool, endpointURL: String?, region: String?, accessKey: String?,
    secretKey: String?, sessionToken: String?, video: String?, audio: String?, framesPerSecond: String?,
    maxViewers: String?, metrics: Bool, readyFile: String?
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
  }
}

/// `kvs-webrtc master`: a clip for every viewer of a channel.
public struct MasterProgram: Program {
  private let application: MasterApplication

  /// Reads and checks all settings and files.
  ///
  /// - Throws: ``UsageError``.
  public init(flags: MasterFlags, settings: Settings, logger: Logger) async throws {
    let channel = try settings.requiredText(.channel, flag: flags.channel)
    guard ChannelName.isValid(channel) else {
      throw UsageError.invalid(.channel, origin: Setting.channel.flag)
    }
    let viewersMax = try settings.number(.maxViewers, flag: flags.maxViewers, in: 1...1000, default: 10)
    let credentials = try Self.credentials(settings, flags: flags)
    var signaling = SignalingClient.Configuration(
      channelName: channel, role: .master,
      region: settings.text(.region, flag: flags.region) ?? Self.defaultRegion, credentials: credentials)
    signaling.endpointURL = try Self.endpointURL(settings, flag: flags.endpointURL)
    signaling.createChannelIfMissing = try settings.isOn(.createChannel, flag: flags.createChannel)
    let clip = try ClipLoader.load(settings, flags: flags, logger: logger)
    let readyFile = settings.text(.readyFile, flag: flags.readyFile)
    let configuration = MasterApplication.Configuration(
      signaling: signaling, clip: clip, viewersMax: viewersMax,
      printsMetrics: try settings.isOn(.metrics, flag: flags.metrics), network: Self.network(for: signaling))
    application = MasterApplication(configuration: configuration, logger: logger) {
      guard let readyFile else { return }
      try ReadyFile.write(["channel": channel, "state": "connected"], to: readyFile)
    }
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

  private static func endpointURL(_ settings: Settings, flag: String?) throws(UsageError) -> String? {
    guard let text = settings.text(.endpointURL, flag: flag) else { return nil }
    guard text.hasPrefix("http://") || text.hasPrefix("https://"), !text.contains(where: \.isWhitespace)
    else {
      throw .invalid(.endpointURL, origin: Setting.endpointURL.flag)
    }
    return text
  }

  /// A master of a stand-in on this host serves viewers on this host: browsers without any network reach it by
  /// loopback only.
  private static func network(for signaling: SignalingClient.Configuration) -> NetworkLoop.Configuration {
    let isLocal = signaling.endpointURL.map { $0.contains("//127.") || $0.contains("//localhost") } ?? false
    return NetworkLoop.Configuration(includesLoopback: isLocal)
  }
}

/// The names that the service allows for channels.
enum ChannelName {
  /// 1 to 256 of letters, digits and `_.-`.
  static func isValid(_ name: String) -> Bool {
    (1...256).contains(name.utf8.count)
      && name.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"):
          true
        default: false
        }
      }
  }
}
