"""The ground floor: plain data and ports. No I/O; imports no other room."""
