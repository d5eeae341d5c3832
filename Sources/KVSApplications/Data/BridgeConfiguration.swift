// SPDX-License-Identifier: Apache-2.0

/// How standard input and output are bridged to a data channel.
struct BridgeConfiguration: Hashable, Sendable {
  /// How long a bridge waits for answers unless it is told: several round trips over any network, and no nuisance.
  static let standardLinger = Duration.seconds(3)
  /// Bytes of a message made of binary input: what all peers take, since the days before `max-message-size`.
  static let chunkByteCount = 16 * 1024
  /// Bytes of a line at most, the longest message that browsers send (RFC 8841 §6 leaves it to the peers).
  static let lineByteCountMax = 256 * 1024

  /// Whether standard input is sent.
  var sendsInput: Bool
  /// Whether messages are written to standard output.
  var writesOutput: Bool
  /// Whether bytes go as they come; else each line is a text message.
  var isBinary: Bool
  /// How long it has to be quiet after the end of the input before the channel is closed.
  var linger: Duration
}
