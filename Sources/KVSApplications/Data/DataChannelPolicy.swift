// SPDX-License-Identifier: Apache-2.0

/// The flags of a camera's data channels as they were typed.
public struct DataFlags: Sendable {
  var echo: Bool
  var noDataChannels: Bool

  /// Carries flags as they were typed.
  public init(echo: Bool = false, noDataChannels: Bool = false) {
    self.echo = echo
    self.noDataChannels = noDataChannels
  }
}

/// What a master does with viewers' data channels.
public enum DataChannelPolicy: Hashable, Sendable {
  /// It refuses them in its answer (port 0).
  case refuse
  /// It answers texts, and logs what comes.
  case answer
  /// It gives every message back as it came, on the channel that it came on.
  case echo

  /// What this build does unless it is told otherwise.
  public static var standard: DataChannelPolicy { isAvailable ? .answer : .refuse }

  /// Whether the package's trait `DataChannels` is on in this build.
  static var isAvailable: Bool {
    #if DataChannels
      true
    #else
      false
    #endif
  }

  /// What flags and settings say.
  ///
  /// - Throws: ``UsageError``, also for an echo without data channels.
  init(_ flags: DataFlags, _ settings: Settings) throws(UsageError) {
    let isOff = try settings.isOn(.noDataChannels, flag: flags.noDataChannels)
    let isEnabled = try settings.isOn(.dataChannels, flag: false, default: true)
    let echoes = try settings.isOn(.dataEcho, flag: flags.echo)
    guard Self.isAvailable, !isOff, isEnabled else {
      guard echoes else {
        self = .refuse
        return
      }
      let reason = Self.isAvailable ? "they are switched off" : "this build has none (trait DataChannels)"
      throw UsageError("\(Setting.dataEcho.flag) needs data channels, and \(reason)")
    }
    self = echoes ? .echo : .answer
  }
}
