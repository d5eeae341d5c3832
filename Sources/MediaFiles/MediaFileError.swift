// SPDX-License-Identifier: Apache-2.0

/// Why a file cannot be played.
public enum MediaFormatError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The content is something else; the text names it ("an MP4 file").
  case unsupported(String)
  /// No NAL unit in an H.264 stream, or no packet in an Opus stream.
  case empty
  /// No IDR picture, so no viewer could ever start.
  case noKeyFrame
  /// A key frame, but no sequence or no picture parameter set before it.
  case noParameterSets
  /// One picture is larger than ``H264FileReader/maximumFrameByteCount``.
  case frameTooLarge
  /// The structure is broken at this offset in bytes.
  case damaged(offset: Int)
  /// The Opus stream has this number of channels; one or two can be sent.
  case channelCount(Int)
  /// Packet number `index` is no Opus packet.
  case badPacket(index: Int)
  /// Packet number `index` has more than ``OggOpusReader/maximumPacketByteCount`` bytes.
  case packetTooLarge(index: Int)
  /// Packet number `index` plays for another time than the first one.
  case unevenPackets(index: Int)

  /// What is wrong, as the second half of a sentence.
  public var description: String {
    switch self {
    case .unsupported(let what):
      "is \(what): give an H.264 Annex-B file, an Ogg Opus file, or a folder of numbered frames"
    case .empty: "holds no media"
    case .noKeyFrame: "has no key frame (IDR picture), so no viewer could start"
    case .noParameterSets: "has no SPS and PPS before its first key frame"
    case .frameTooLarge: "has a picture of more than \(H264FileReader.maximumFrameByteCount) bytes"
    case .damaged(let offset): "is damaged at byte \(offset)"
    case .channelCount(let count): "has \(count) channels: mono or stereo can be sent"
    case .badPacket(let index): "has something else than an Opus packet at packet \(index)"
    case .packetTooLarge(let index):
      "has an Opus packet of more than \(OggOpusReader.maximumPacketByteCount) bytes (packet \(index)): encode with a lower bit rate"
    case .unevenPackets(let index): "has Opus packets of different durations (packet \(index))"
    }
  }
}

/// Why a path cannot be played: one sentence for a person.
public struct MediaFileError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What went wrong.
  public enum Problem: Hashable, Sendable {
    /// Nothing is there, or reading is not allowed; the text says which.
    case unreadable(String)
    /// The file is longer than ``MediaSourceFile/maximumFileByteCount``.
    case tooLarge
    /// The folder has no files with the expected names; the text is the pattern.
    case noNumberedFiles(String)
    /// The numbers of a folder's files have a gap: this name is missing.
    case missingFile(String)
    /// The content is not what can be sent.
    case format(MediaFormatError)
  }

  /// The file or folder.
  public let path: String
  /// What went wrong.
  public let problem: Problem

  /// Joins a path and its problem.
  public init(path: String, problem: Problem) {
    self.path = path
    self.problem = problem
  }

  /// One sentence.
  public var description: String {
    switch problem {
    case .unreadable(let reason): "\(path) cannot be read: \(reason)"
    case .tooLarge: "\(path) is larger than \(MediaSourceFile.maximumFileByteCount / 1_048_576) MiB"
    case .noNumberedFiles(let pattern): "the folder \(path) holds no files named \(pattern)"
    case .missingFile(let name): "the folder \(path) has a gap: \(name) is missing"
    case .format(let error): "\(path) \(error)"
    }
  }
}
