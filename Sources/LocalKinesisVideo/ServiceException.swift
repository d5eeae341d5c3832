// SPDX-License-Identifier: Apache-2.0

public import KinesisVideo

/// The exception types that the stand-in answers with, and the HTTP status of each.
///
/// The list is closed: it is what this side may say. The client's ``KinesisVideoError`` is open, because the service
/// may answer anything.
public enum ServiceException: String, Sendable, CaseIterable {
  /// A parameter is missing or out of its range.
  case invalidArgument = "InvalidArgumentException"
  /// A request body that is not a JSON object of the expected shape.
  case serialization = "SerializationException"
  /// A rate or the number of viewers is exhausted.
  case clientLimitExceeded = "ClientLimitExceededException"
  /// There are as many channels as an account may have.
  case accountChannelLimitExceeded = "AccountChannelLimitExceededException"
  /// The channel's name is taken.
  case resourceInUse = "ResourceInUseException"
  /// Update or delete named a version that is not the current one.
  case versionMismatch = "VersionMismatchException"
  /// More than 50 tags on one channel.
  case tagsPerResourceExceededLimit = "TagsPerResourceExceededLimitException"
  /// No such channel.
  case resourceNotFound = "ResourceNotFoundException"
  /// The request may not do this.
  case accessDenied = "AccessDeniedException"
  /// The request's body is longer than the stand-in reads.
  case requestEntityTooLarge = "RequestEntityTooLargeException"
  /// A handshake for a version of WebSocket other than 13.
  case upgradeRequired = "UpgradeRequiredException"

  /// The HTTP status that goes with the type.
  public var statusCode: Int {
    switch self {
    case .accessDenied: 403
    case .resourceNotFound: 404
    case .requestEntityTooLarge: 413
    case .upgradeRequired: 426
    case .invalidArgument, .serialization, .clientLimitExceeded, .accountChannelLimitExceeded, .resourceInUse,
      .versionMismatch, .tagsPerResourceExceededLimit:
      400
    }
  }
}

extension KinesisVideoError {
  /// A refusal of the stand-in, with the type's own status.
  public init(_ exception: ServiceException, _ message: String) {
    self.init(errorType: exception.rawValue, message: message, statusCode: exception.statusCode)
  }
}
