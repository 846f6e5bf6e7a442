"""The only room that knows gRPC. Imports the ground floor only."""
