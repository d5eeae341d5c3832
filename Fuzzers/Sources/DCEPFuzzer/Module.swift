// SPDX-License-Identifier: Apache-2.0

// A second file: a module of one file alone would be taken for a script with a main of its own.
