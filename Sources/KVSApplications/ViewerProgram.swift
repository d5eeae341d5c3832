// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
public import Logging
import WebRTC

/// The flags of `kvs-webrtc viewer` as they were typed.
public struct ViewerFlags: Sendable {
  var service: ServiceFlags
  var channelIn: Bool
  var channelOut: Bool
  var dataLabel: String?
  var binary: Bool
  var linger: String?
  var timeout: String?
  var clientID: String?
  var readyFile: String?
  var network: NetworkFlags

  /// Carries flags as they were typed.
  public init(
    service: ServiceFlags = ServiceFlags(), channelIn: Bool = false, channelOut: Bool = false,
    dataLabel: String? = nil, binary: Bool = false, linger: String? = nil, timeout: String? = nil,
    clientID: String? = nil, readyFile: String? = nil, network: NetworkFlags = NetworkFlags()
  ) {
    self.service = service
    self.channelIn = channelIn
    self.channelOut = channelOut
    self.dataLabel = dataLabel
    self.binary = binary
    self.linger = linger
    self.timeout = timeout
    self.clientID = clientID
    self.readyFile = readyFile
    self.network = network
  }
}

/// `kvs-webrtc viewer`: standard input and output bridged to a data channel of a master.
public struct ViewerProgram: Program {
  private let application: any Program

  /// Reads and checks all settings.
  ///
  /// - Throws: ``UsageError``.
  public init(flags: ViewerFlags, settings: Settings, logger: Logger) async throws {
    #if DataChannels
      let clientID = try settings.value(.clientID, flag: flags.clientID) {
        SignalingMessage.isViewerIdentifier($0) ? $0 : nil
      }
      let signaling = try SignalingClient.Configuration(
        flags.service, settings, role: .viewer(clientID: clientID ?? Self.randomID()))
      var network = try NetworkLoop.Configuration(
        flags.network, settings, includesLoopback: signaling.isLocal)
      network.proxy = signaling.proxy
      // There is one connection, and none to come.
      network.relaySpareCount = 0
      application = ViewerApplication(
        configuration: ViewerApplication.Configuration(
          signaling: signaling, network: network, bridge: try Self.bridge(flags, settings),
          label: try Self.label(flags, settings),
          timeout: .seconds(try settings.number(.timeout, flag: flags.timeout, in: 1...3600, default: 30)),
          readyFile: settings.text(.readyFile, flag: flags.readyFile)), logger: logger)
    #else
      throw UsageError("viewer needs data channels, and this build has none (trait DataChannels)")
    #endif
  }

  /// Runs until the input is sent, the channel is closed or the task is cancelled.
  public func run() async throws { try await application.run() }

  private static func bridge(
    _ flags: ViewerFlags, _ settings: Settings
  ) throws(UsageError) -> BridgeConfiguration {
    let configuration = BridgeConfiguration(
      sendsInput: try settings.isOn(.channelIn, flag: flags.channelIn),
      writesOutput: try settings.isOn(.channelOut, flag: flags.channelOut),
      isBinary: try settings.isOn(.binary, flag: flags.binary),
      linger: try settings.value(.linger, flag: flags.linger, seconds) ?? BridgeConfiguration.standardLinger)
    guard configuration.sendsInput || configuration.writesOutput else {
      throw UsageError(
        "\(Setting.channelIn.flag) or \(Setting.channelOut.flag) is missing: give the first to send standard input, "
          + "the second to write what comes to standard output, or both")
    }
    return configuration
  }

  /// What the viewer's channel is called unless it is told.
  private static let standardLabel = "kvs"

  private static func label(_ flags: ViewerFlags, _ settings: Settings) throws(UsageError) -> String {
    try settings.value(.dataLabel, flag: flags.dataLabel) { $0.utf8.count <= 255 ? $0 : nil } ?? standardLabel
  }

  private static func seconds(_ text: String) -> Duration? {
    guard let seconds = Double(text), (0...3600).contains(seconds) else { return nil }
    return .seconds(seconds)
  }

  private static func randomID() -> String {
    "viewer-" + String(UInt32.random(in: .min ... .max), radix: 16)
  }
}

/// Why a viewer could not do what it was asked to.
enum ViewerError: Error, Hashable, CustomStringConvertible {
  /// The service does not answer.
  case noService(waited: Duration)
  /// Nobody answered the offer.
  case noAnswer(waited: Duration)
  /// There is an answer, but no connection.
  case noConnection(waited: Duration)
  /// The answer refuses all that was offered.
  case refused
  /// The connection ended too early.
  case lost
  /// The master closed the channel too early.
  case closed
  /// A line of the input is longer than a message may be.
  case lineTooLong(line: Int, limit: Int)
  /// A line of the input is no text.
  case notText(line: Int)
  /// The chunks of the input are longer than a message may be.
  case chunkTooLong(limit: Int)

  var description: String {
    switch self {
    case .noService(let waited):
      "the service did not answer within \(waited.components.seconds) s: look at \(Setting.endpointURL.flag) and the "
        + "network"
    case .noAnswer(let waited):
      "no master answered on this channel within \(waited.components.seconds) s: start one, or wait longer "
        + "(\(Setting.timeout.flag))"
    case .noConnection(let waited):
      "the master answered, but there was no connection within \(waited.components.seconds) s: a firewall may be "
        + "between the two, and a relay would help"
    case .refused:
      "the master refuses: all of its viewer places are taken (its \(Setting.maxViewers.flag)), or it takes no data "
        + "channels"
    case .lost: "the connection to the master was lost before all was done"
    case .closed: "the master closed the channel before all was sent"
    case .lineTooLong(let line, let limit):
      "line \(line) of standard input is longer than a message may be (\(limit) bytes): use "
        + Setting.binary.flag
    case .notText(let line):
      "line \(line) of standard input is no text in UTF-8: use \(Setting.binary.flag)"
    case .chunkTooLong(let limit): "the master takes messages of at most \(limit) bytes"
    }
  }

  /// EX_DATAERR, or EX_UNAVAILABLE for what the other side lacks.
  var exitCode: Int32 {
    switch self {
    case .lineTooLong, .notText: ExitError.dataError
    default: ExitError.unavailable
    }
  }
}
