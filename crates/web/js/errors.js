// Errors, as pages see them.

export class FovealError extends Error {
  constructor(kind, argument, message, place = {}) {
    super(argument ? `${argument}: ${message}` : message);
    this.name = "FovealError";
    this.kind = kind;
    this.argument = argument;
    if (place.column !== undefined) {
      this.column = place.column;
      this.length = place.length;
    }
  }
}

export const usage = (argument, message) => new FovealError("usage", argument, message);
